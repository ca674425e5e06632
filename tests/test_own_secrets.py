"""The installation's own secrets, that notifications to no endpoint are signed with."""

from pathlib import Path

import pytest

from modabatchd.errors import StartupError
from modabatchd.notifications.signing import key
from modabatchd.startup import own_secrets


def test_one_is_made_and_kept(tmp_path: Path) -> None:
    [secret] = own_secrets(tmp_path)
    assert len(key(secret)) == 32
    assert own_secrets(tmp_path) == (secret,)
    [file] = tmp_path.iterdir()
    assert file.stat().st_mode & 0o777 == 0o600


def test_each_line_is_one(tmp_path: Path) -> None:
    lines = [f"whsec_{letter * 32}" for letter in "ab"]
    (tmp_path / "notification-secrets").write_text("\n".join(lines))
    assert own_secrets(tmp_path) == tuple(lines)


@pytest.mark.parametrize("text", ["", "\n", "secret", "whsec_AAAA"])
def test_a_file_without_usable_ones_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "notification-secrets").write_text(text)
    with pytest.raises(StartupError, match="whsec_"):
        own_secrets(tmp_path)
