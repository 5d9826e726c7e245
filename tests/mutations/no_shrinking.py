"""pytest plugin: the first failure counts, and Hypothesis looks for no smaller one."""

from hypothesis import Phase, settings

settings.register_profile("mutations", phases=(Phase.explicit, Phase.generate))
settings.load_profile("mutations")
