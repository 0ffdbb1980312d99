"""What an operator writes in redoubt.toml is taken, or refused with what to write instead."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from redoubt.config import ConfigError
from redoubt.network.configuration import addresses_inside, from_tree, load


def test_a_ceiling_of_the_hss_below_the_s_cscfs_is_refused_with_what_to_write() -> None:
    """Row 77: it would be met by users that exist and by no others."""
    with pytest.raises(ConfigError, match=r"\[hss\] max-pending-per-user is 6.*write 7 or more"):
        from_tree({"hss": {"max-pending-per-user": 6}})
    assert from_tree({"hss": {"max-pending-per-user": 7}}).hss.max_pending_per_user == 7


@pytest.mark.parametrize("named", ["absolute", "relative"])
def test_certificates_are_found_from_where_redoubt_toml_is(
    named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path.parent)
    (tmp_path / "redoubt.toml").write_text(
        '[hss]\nrest-certificate = "api.pem"\nrest-key = "/etc/api.key"\n'
        '[diameter]\ncertificate = "tls/own.pem"\nkey = "tls/own.key"\nauthority = ""\n'
    )
    path = tmp_path / "redoubt.toml"
    config = load(path if named == "absolute" else path.relative_to(tmp_path.parent))
    assert (config.hss.rest_certificate, config.hss.rest_key) == (f"{tmp_path}/api.pem", "/etc/api.key")
    assert config.diameter.certificate == f"{tmp_path}/tls/own.pem"
    assert config.diameter.key == f"{tmp_path}/tls/own.key"
    assert config.diameter.authority == ""


@pytest.mark.parametrize(
    ("tree", "said"),
    [
        ({"network": {"realm": "bad realm"}}, "[network] realm: 'bad realm' is no domain name; write one like ims."),
        ({"network": {"realm": ""}}, "[network] realm: '' is no domain name"),
        ({"network": {"trusted-nodes": ["foo"]}}, "[network] trusted-nodes: 'foo' is no IP address"),
        ({"network": {"routes": {"a.example": "bar"}}}, "'bar' is not TRANSPORT:HOST:PORT; write for example udp:"),
        ({"p-cscf": {"listen": ["udp:127.0.0.1:99999"]}}, "is not TRANSPORT:HOST:PORT"),
        ({"p-cscf": {"uri": "pcscf"}}, "[p-cscf] uri: 'pcscf' is no SIP URI; write sip:NAME."),
        ({"p-cscf": {"home-entry": "tel:+1"}}, "[p-cscf] home-entry: 'tel:+1' is no SIP URI"),
        ({"i-cscf": {"servers": [{"uri": "x y"}]}}, "[i-cscf] servers: 'x y' is no SIP URI"),
        ({"s-cscf": {"min-expires": "x"}}, "[s-cscf] min-expires: Expected `int`, got `str`; write for example"),
        ({"s-cscf": {"reauthenticate": "no"}}, '; write for example reauthenticate = "always"'),
        ({"p-cscf": {"listen": ["foo:1"]}}, "[p-cscf] listen[0]: Expected `str` matching"),
    ],
)
def test_what_a_type_cannot_tell_is_refused_by_its_option(tree: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as wrong:
        from_tree(tree, "redoubt.toml")
    assert str(wrong.value).startswith("redoubt.toml: ") and said in str(wrong.value)


DOCS = [Path(__file__).parents[2] / "docs" / f"{name}.md" for name in ("diameter", "media", "partners")]
DOCUMENTED = "\n\n".join([page.read_text() for page in DOCS]).split("\n\n")


@pytest.mark.parametrize(
    ("section", "options"),
    [
        *((name, {"listen": ["udp:192.0.2.1:5060"]}) for name in ("p-cscf", "i-cscf", "s-cscf", "bgcf", "ibcf", "gm")),
        *((name, {"core": ["udp:192.0.2.1:5060"]}) for name in ("p-cscf", "ibcf")),
        *(("media", {side: ["192.0.2.1"]}) for side in ("inside", "outside")),
        ("hss", {"rest": "http:192.0.2.1:8088"}),
        ("hss", {"diameter": ["tcp:192.0.2.1:3868"]}),
    ],
)
def test_without_a_protection_nothing_but_loopback_is_served(section: str, options: dict[str, Any]) -> None:
    off = {"test": {"protections-off": ["core-peers"]}}
    from_tree(off)
    with pytest.raises(ConfigError, match="must be loopback"):
        from_tree({**off, section: options})


def test_a_route_for_numbers_to_a_partner_makes_none_of_its_hosts_a_node_of_ours() -> None:
    """They would be sent to directly, past the border."""
    agreement = {"name": "beta", "domains": ["beta.example"], "transit-to": ["far.example"]}
    routes = {"+33": "beta.example", "+34": "mgw.Beta.example", "+35": "far.example", "+36": "mgcf.example.net"}
    tree = {
        "partners": [{**agreement, "connect": ["tls:192.0.2.1:5061"]}],
        "bgcf": {"routes": [{"prefix": prefix, "to": f"sip:{host}"} for prefix, host in routes.items()]},
    }
    inside = addresses_inside(from_tree(tree))
    assert {host for host in inside if "example" in host} == {"mgcf.example.net"}
    assert "192.0.2.1" not in inside


@pytest.mark.parametrize("example", [part for part in DOCUMENTED if part.startswith("    [")])
def test_what_the_documentation_shows_is_taken(example: str) -> None:
    from_tree(tomllib.loads("\n".join(line[4:] for line in example.splitlines())))
