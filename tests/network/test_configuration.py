"""What an operator writes in redoubt.toml is taken, or refused with what to write instead."""

from pathlib import Path

import pytest

from redoubt.config import ConfigError
from redoubt.network.configuration import from_tree, load


def test_a_ceiling_of_the_hss_below_the_s_cscfs_is_refused_with_what_to_write() -> None:
    """Row 77: it would be met by users that exist and by no others."""
    with pytest.raises(ConfigError, match=r"\[hss\] max-pending-per-user is 6.*write 7 or more"):
        from_tree({"hss": {"max-pending-per-user": 6}})
    assert from_tree({"hss": {"max-pending-per-user": 7}}).hss.max_pending_per_user == 7


def test_certificates_are_found_from_where_redoubt_toml_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    (tmp_path / "redoubt.toml").write_text(
        '[hss]\nrest-certificate = "api.pem"\nrest-key = "/etc/api.key"\n'
        '[diameter]\ncertificate = "tls/own.pem"\nkey = "tls/own.key"\nauthority = ""\n'
    )
    config = load(tmp_path / "redoubt.toml")
    assert (config.hss.rest_certificate, config.hss.rest_key) == (f"{tmp_path}/api.pem", "/etc/api.key")
    assert config.diameter.certificate == f"{tmp_path}/tls/own.pem"
    assert config.diameter.key == f"{tmp_path}/tls/own.key"
    assert config.diameter.authority == ""
