"""The stack before its servers: its mailbox, its port."""

import socket
from pathlib import Path

import pytest

from devstack.sandbox import Sandbox, ServerFailed
from devstack.stack import Stack


def test_mails_arrive_in_the_folder_that_is_set_outside(tmp_path: Path) -> None:
    folder = tmp_path / "shop" / "mails"
    with Sandbox() as sandbox:
        assert Stack(sandbox, {"MAILBOX_DIR": str(folder)}).mailbox == folder
        assert folder.is_dir()
        assert Stack(sandbox, {"MAILBOX_DIR": ""}).mailbox == sandbox.path / "mailbox"


@pytest.mark.parametrize("port", [None, 65_536])
def test_a_port_that_is_taken_is_told_before_anything_starts(port: int | None) -> None:
    with Sandbox() as sandbox, socket.create_server(("127.0.0.1", 0)) as other:
        taken = port or other.getsockname()[1]
        with pytest.raises(ServerFailed, match=f"port {taken} cannot be listened on"):
            Stack(sandbox, {}, port=taken).start()
        assert {path.name for path in sandbox.path.glob("*.log")} == {"remover.log"}
