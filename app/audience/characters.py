"""Characters by kind, as code points of Unicode 15 in hexadecimal.

They are written out, not asked of PostgreSQL or Python, so that an address means the same
after either is upgraded: the rule's result is stored. Code points that were not assigned
then belong to the ranges around them.
"""

LETTERS = """
    aa b5 ba c0-d6 d8-f6 f8-2c1 2c6-2d1 2e0-2e4 2ec 2ee 300-374 376-37d 37f 386 388-3f5 3f7-481
    483-559 560-588 591-5bd 5bf 5c1-5c2 5c4-5c5 5c7-5f2 610-61a 620-65f 66e-6d3 6d5-6dc 6df-6e8
    6ea-6ef 6fa-6fc 6ff 710-7b1 7ca-7f5 7fa-7fd 800-82d 840-85b 860-887 889-88e 898-8e1 8e3-963
    971-9e3 9f0-9f1 9fc 9fe-a5e a70-a75 a81-ae3 af9-b63 b71 b82-bd7 c00-c63 c80-c83 c85-ce3
    cf1-d4e d54-d57 d5f-d63 d7a-ddf df2-df3 e01-e3a e40-e4e e81-ecd edc-f00 f18-f19 f35 f37 f39
    f3e-f84 f86-fbc fc6 1000-103f 1050-108f 109a-109d 10a0-10fa 10fc-135f 1380-138f 13a0-13fd
    1401-166c 166f-167f 1681-169a 16a0-16ea 16f1-1734 1740-17d3 17d7 17dc-17dd 180b-180d 180f
    1820-193b 1950-19c9 1a00-1a1b 1a20-1a7f 1aa7 1ab0-1b4c 1b6b-1b73 1b80-1baf 1bba-1bf3
    1c00-1c37 1c4d-1c4f 1c5a-1c7d 1c80-1cbf 1cd0-1cd2 1cd4-1fbc 1fbe 1fc2-1fcc 1fd0-1fdb
    1fe0-1fec 1ff2-1ffc 2071 207f 2090-209c 20d0-20f0 2102 2107 210a-2113 2115 2119-211d 2124
    2126 2128 212a-212d 212f-2139 213c-213f 2145-2149 214e 2183-2184 2c00-2ce4 2ceb-2cf3
    2d00-2d6f 2d7f-2dff 2e2f 3005-3006 302a-302f 3031-3035 303b-303c 3041-309a 309d-309f
    30a1-30fa 30fc-318e 31a0-31bf 31f0-31ff 3400-4dbf 4e00-a48c a4d0-a4fd a500-a60c a610-a61f
    a62a-a672 a674-a67d a67f-a6e5 a6f0-a6f1 a717-a71f a722-a788 a78b-a827 a82c a840-a873
    a880-a8c5 a8e0-a8f7 a8fb a8fd-a8ff a90a-a92d a930-a953 a960-a9c0 a9cf a9e0-a9ef a9fa-aa4d
    aa60-aa76 aa7a-aadd aae0-aaef aaf2-ab5a ab5c-ab69 ab70-abea abec-abed ac00-d7fb f900-fb28
    fb2a-fbb1 fbd3-fd3d fd50-fdc7 fdf0-fdfb fe00-fe0f fe20-fe2f fe70-fefc ff21-ff3a ff41-ff5a
    ff66-ffdc 10000-100fa 101fd-102e0 10300-1031f 1032d-10340 10342-10349 10350-1039d
    103a0-103cf 10400-1049d 104b0-10563 10570-10855 10860-10876 10880-1089e 108e0-108f5
    10900-10915 10920-10939 10980-109b7 109be-109bf 10a00-10a3f 10a60-10a7c 10a80-10a9c
    10ac0-10ac7 10ac9-10ae6 10b00-10b35 10b40-10b55 10b60-10b72 10b80-10b91 10c00-10cf2
    10d00-10d27 10e80-10eac 10eb0-10f1c 10f27-10f50 10f70-10f85 10fb0-10fc4 10fe0-11046
    11070-110ba 110c2 110d0-110e8 11100-11134 11144-11173 11176-111c4 111c9-111cc 111ce-111cf
    111da 111dc 11200-11237 1123e-112a8 112b0-112ea 11300-1144a 1145e-114c5 114c7 11580-115c0
    115d8-11640 11644 11680-116b8 11700-1172b 11740-1183a 118a0-118df 118ff-11943 119a0-119e1
    119e3-11a3e 11a47-11a99 11a9d 11ab0-11c40 11c72-11d47 11d60-11d98 11ee0-11ef6 11fb0
    12000-12399 12480-12ff0 13000-1342e 14400-16a5e 16a70-16abe 16ad0-16af4 16b00-16b36
    16b40-16b43 16b63-16e7f 16f00-16fe1 16fe3-1bc99 1bc9d-1bc9e 1cf00-1cf46 1d165-1d169
    1d16d-1d172 1d17b-1d182 1d185-1d18b 1d1aa-1d1ad 1d242-1d244 1d400-1d6c0 1d6c2-1d6da
    1d6dc-1d6fa 1d6fc-1d714 1d716-1d734 1d736-1d74e 1d750-1d76e 1d770-1d788 1d78a-1d7a8
    1d7aa-1d7c2 1d7c4-1d7cb 1da00-1da36 1da3b-1da6c 1da75 1da84 1da9b-1e13d 1e14e 1e290-1e2ef
    1e7e0-1e8c4 1e8d0-1e94b 1ee00-1eebb 20000-3134a e0100-e01ef
"""
"""Letters of any script with their marks, beyond ASCII: categories L and M."""

DIGITS = """
    660-669 6f0-6f9 7c0-7c9 966-96f 9e6-9ef a66-a6f ae6-aef b66-b6f be6-bef c66-c6f ce6-cef
    d66-d6f de6-def e50-e59 ed0-ed9 f20-f29 1040-1049 1090-1099 17e0-17e9 1810-1819 1946-194f
    19d0-19d9 1a80-1a99 1b50-1b59 1bb0-1bb9 1c40-1c49 1c50-1c59 a620-a629 a8d0-a8d9 a900-a909
    a9d0-a9d9 a9f0-a9f9 aa50-aa59 abf0-abf9 ff10-ff19 104a0-104a9 10d30-10d39 11066-1106f
    110f0-110f9 11136-1113f 111d0-111d9 112f0-112f9 11450-11459 114d0-114d9 11650-11659
    116c0-116c9 11730-11739 118e0-118e9 11950-11959 11c50-11c59 11d50-11d59 11da0-11da9
    16a60-16a69 16ac0-16ac9 16b50-16b59 1d7ce-1d7ff 1e140-1e149 1e2f0-1e2f9 1e950-1e959
    1fbf0-1fbf9
"""
"""Decimal digits of any script, beyond ASCII: category Nd."""

FORMATS = """
    ad 600-605 61c 6dd 70f 890-891 8e2 180e 200b-200f 2028-202e 2060-2064 2066-206f feff
    fff9-fffb 110bd 110cd 13430-1343f 1bca0-1bca3 1d173-1d17a e0001 e0020-e007f
"""
"""What is not seen: format characters (category Cf), line and paragraph separators."""

WHITE_SPACE = "9-d 20 85 a0 1680 2000-200a 2028-2029 202f 205f 3000"
"""The property White_Space."""

INVISIBLE = "ad 200b-200f 2060 feff"
"""What programs put around addresses that were copied: it is cut off at the ends."""

CONTROLS = "1-1f 7f-9f"
"""Category Cc; PostgreSQL stores no U+0000."""


def escaped(*kinds: str) -> str:
    """Return these characters as ranges for the brackets of an SQL regular expression."""
    return "".join(
        "-".join(f"\\U{int(code, 16):08x}" for code in each.split("-"))
        for kind in kinds
        for each in kind.split()
    )


def listed(*kinds: str) -> str:
    """Return each of these characters, escaped for a string of the form ``E'…'``."""
    return "".join(
        f"\\U{code:08x}"
        for kind in kinds
        for each in kind.split()
        for first, _, last in [each.partition("-")]
        for code in range(int(first, 16), int(last or first, 16) + 1)
    )
