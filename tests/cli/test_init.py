"""`redoubt init`, and that what it makes opens the REST API of the network that runs on it."""

import asyncio
import json
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from redoubt.config import ConfigError
from redoubt.network.configuration import from_tree
from redoubt.network.run import Network

MAIN = "from redoubt.cli import main; main()"


def test_init_makes_the_token_and_the_key_for_their_owner_only(tmp_path: Path) -> None:
    words = ("init", "--json", "--config", str(tmp_path / "redoubt.toml"))
    output = subprocess.run([sys.executable, "-c", MAIN, *words], check=True, capture_output=True, text=True).stdout
    made = json.loads(output)
    for name in ("key", "token"):
        path = Path(made[name])
        assert path.stat().st_mode & 0o777 == 0o600
        assert len(path.read_text().strip()) >= 43
        assert path.read_text().strip() not in output


async def test_a_network_serves_the_rest_api_where_it_is_told_to() -> None:
    network = await Network.temporary({"hss": {"rest": "http:127.0.0.1:0"}})
    assert network.rest is not None
    host, port = network.rest.address
    token = (network.directory / "rest.token").read_text().strip()

    def ask(authorization: str) -> int:
        request = urllib.request.Request(f"http://{host}:{port}/v1/status", headers={"Authorization": authorization})
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as refused:
            return refused.code

    try:
        assert network.names[f"{host}:{port}"] == "rest"
        assert await asyncio.to_thread(ask, f"Bearer {token}") == 200
        assert await asyncio.to_thread(ask, "Bearer other") == 401
    finally:
        await network.close()


async def test_a_network_without_that_option_loads_no_http_server() -> None:
    check = "import sys; import redoubt.cli.up; print('uvicorn' in sys.modules, 'starlette' in sys.modules)"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", check, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    assert output == b"False False\n"


def test_a_network_with_a_protection_off_serves_its_api_on_loopback_only() -> None:
    tree = {"test": {"protections-off": ["flow-token"]}, "hss": {"rest": "https:0.0.0.0:8443"}}
    with pytest.raises(ConfigError, match=r"https:0\.0\.0\.0:8443"):
        from_tree(tree)
