"""The REST API by HTTP: who may, what it answers, and that it does what it describes."""

import asyncio
import http.client
import json
import os
import sqlite3
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import jsonschema
import pytest
import trustme

from redoubt.config import ConfigError, HssConfig
from redoubt.diameter.cx import RegistrationTermination, ResultCode, ServerAssignmentType, UserProfile
from redoubt.events import EventStream, Notice, Refused
from redoubt.hss.hss import Hss
from redoubt.hss.rest_server import RestServer
from redoubt.hss.rest_token import read_token_file, write_token_file
from redoubt.limits import HSS_REST_BODY_OCTETS, HSS_REST_FAILURES, HSS_REST_HEADER_OCTETS
from redoubt.sources import SeededRandomness

from .conftest import ALICE, ALICE_IMPU, BOB, BOB_IMPU, OPC, REALM, S1, K, with_subscribers

VECTORS = Path(__file__).parents[1] / "vectors" / "openapi"
CARD = {"k": K.hex(), "opc": OPC.hex()}
JSON = {"Content-Type": "application/json"}


class Answer(NamedTuple):
    status: int
    headers: http.client.HTTPMessage
    body: Any


class Api:
    """A client with the token; each request on a connection of its own."""

    def __init__(self, hss: Hss, server: RestServer, token: str) -> None:
        self.hss, self.server, self.token = hss, server, token
        self.asked: list[tuple[str, str, Answer]] = []

    async def __call__(
        self, method: str, path: str, body: Any = None, *, headers: dict[str, str] | None = None
    ) -> Answer:
        given = {"Authorization": f"Bearer {self.token}"} | (headers or {})
        octets = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        if octets is not None:
            given = JSON | given
        answer = await asyncio.to_thread(self._ask, method, path, octets, given)
        self.asked.append((method, path, answer))
        return answer

    def _ask(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> Answer:
        connection = http.client.HTTPConnection(*self.server.address, timeout=20)
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            text = response.read()
            return Answer(response.status, response.headers, json.loads(text) if text else None)
        finally:
            connection.close()

    async def raw(self, octets: bytes) -> bytes:
        reader, writer = await asyncio.open_connection(*self.server.address)
        writer.write(octets)
        answer = await reader.read()
        writer.close()
        return answer

    @property
    def events(self) -> EventStream:
        return self.hss.context.events


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    hss = await with_subscribers(tmp_path)
    write_token_file(tmp_path / "rest.token", SeededRandomness(7))
    server = await started(hss, tmp_path, "http:127.0.0.1:0")
    yield Api(hss, server, (tmp_path / "rest.token").read_text().strip())
    await server.close()
    await hss.close()


async def started(hss: Hss, path: Path, rest: str, **options: str) -> RestServer:
    config = HssConfig(rest=rest, **options)  # type: ignore[arg-type]
    return await RestServer.start(hss.context, config, REALM, path, hss.administration)


class Served:
    """An S-CSCF as the HSS sees it."""

    def __init__(self) -> None:
        self.terminated: list[RegistrationTermination] = []
        self.pushed: list[UserProfile] = []

    async def registration_termination(self, request: RegistrationTermination) -> ResultCode:
        self.terminated.append(request)
        return ResultCode.SUCCESS

    async def push_profile(self, profile: UserProfile) -> ResultCode:
        self.pushed.append(profile)
        return ResultCode.SUCCESS


async def registered(hss: Hss) -> Served:
    """Alice's S-CSCF, after her registration."""
    served = Served()
    hss.attach(S1, served)
    await hss.multimedia_auth(ALICE, ALICE_IMPU, S1, 1)
    answer = await hss.server_assignment(ALICE, ALICE_IMPU, S1, ServerAssignmentType.REGISTRATION)
    assert answer.result is ResultCode.SUCCESS
    return served


@pytest.mark.parametrize(
    "authorization",
    ["", "Bearer", "Bearer ", "Bearer wrong", "Basic {token}", "{token}", "Bearer {token}x", "Bearer \u00e9"],
)
async def test_without_the_token_everything_is_401(api: Api, authorization: str) -> None:
    sent = {"Authorization": authorization.format(token=api.token)}
    for method, path in (("GET", "/v1/subscribers"), ("GET", "/v1/openapi.json"), ("DELETE", "/nothing")):
        answer = await api(method, path, headers=sent)
        assert answer.status == 401
        assert answer.headers["WWW-Authenticate"] == 'Bearer realm="redoubt"'
        assert answer.body["detail"].startswith("send `Authorization: Bearer TOKEN`")
    told = [event for event in api.events.recent if isinstance(event, Refused)]
    assert len(told) == 3
    assert api.token not in repr(told)


async def test_the_scheme_is_written_in_any_case(api: Api) -> None:
    assert (await api("GET", "/v1/status", headers={"Authorization": f"bEARER {api.token}"})).status == 200


async def test_whoever_goes_on_without_the_token_gets_429_and_the_owner_is_served(api: Api) -> None:
    wrong = {"Authorization": "Bearer wrong"}
    statuses = [(await api("GET", "/v1/status", headers=wrong)).status for _ in range(HSS_REST_FAILURES + 1)]
    assert statuses == [401] * HSS_REST_FAILURES + [429]
    refused = await api("GET", "/v1/status", headers=wrong)
    assert 0 < int(refused.headers["Retry-After"]) <= 60
    assert (await api("GET", "/v1/status")).status == 200
    assert len([event for event in api.events.recent if isinstance(event, Refused)]) == HSS_REST_FAILURES


async def test_the_status_names_the_realm_and_the_s_cscfs(api: Api) -> None:
    await registered(api.hss)
    answer = await api("GET", "/v1/status")
    assert (answer.body["realm"], answer.body["s-cscfs"]) == (REALM, [S1])


async def test_a_subscriber_is_added_shown_and_removed(api: Api) -> None:
    assert (await api("POST", "/v1/subscribers", {"impi": "x@home.example", **CARD})).status == 201
    shown = await api("GET", "/v1/subscribers/x@home.example")
    assert shown.body["profile"] == {"impus": ["sip:x@home.example"]}
    assert shown.body["private"][0]["reserved-sqn"] == "00000000001f"
    assert (await api("DELETE", "/v1/subscribers/x@home.example")).body == {
        "impi": "x@home.example", "s-cscf": "not-needed",
    }  # fmt: skip
    assert (await api("GET", "/v1/subscribers/x@home.example")).status == 404
    done = [event.what for event in api.events.recent if isinstance(event, Notice)]
    assert done == [
        "REST API: POST /v1/subscribers by 127.0.0.1",
        "REST API: DELETE /v1/subscribers/x@home.example by 127.0.0.1",
    ]


async def test_several_are_added_together_or_not_at_all(api: Api) -> None:
    many = [{"impi": f"u{n}@home.example", **CARD} for n in range(3)]
    assert (await api("POST", "/v1/subscribers", many)).body == {"added": 3}
    again = [{"impi": "fresh@home.example", **CARD}, many[0]]
    answer = await api("POST", "/v1/subscribers", again)
    assert (answer.status, answer.body["field"]) == (409, "impi")
    assert (await api("GET", "/v1/subscribers/fresh@home.example")).status == 404


@pytest.mark.parametrize("kind", ["text/csv", "application/jsonl", "application/x-ndjson; charset=utf-8"])
async def test_a_file_is_imported_and_its_faults_are_told_by_line(api: Api, kind: str) -> None:
    rows = [{"impi": f"u{n}@home.example", **CARD} for n in range(700)]
    if kind == "text/csv":
        lines = ["impi,k,opc", *(",".join(row.values()) for row in rows)]
        bad, line = [*lines, "x@home.example,zz,"], 702
    else:
        lines = [json.dumps(row) for row in rows]
        bad, line = [*lines, '{"impi": "x@home.example", "k": "zz"}'], 701
    wrong = await api("POST", "/v1/subscribers", "\n".join(bad).encode(), headers={"Content-Type": kind})
    assert (wrong.status, wrong.body["field"], wrong.body["line"]) == (422, "k", line)
    right = await api("POST", "/v1/subscribers", "\n".join(lines).encode(), headers={"Content-Type": kind})
    assert (right.status, right.body) == (201, {"added": 700})


async def test_the_list_comes_in_pages(api: Api) -> None:
    await api("POST", "/v1/subscribers", [{"impi": f"u{n}@home.example", **CARD} for n in range(5)])
    seen: list[str] = []
    after = ""
    while True:
        page = (await api("GET", f"/v1/subscribers?limit=2&after={after}")).body
        seen += [one["private"][0]["impi"] for one in page["subscribers"]]
        after = page["next"]
        if not after:
            break
    assert seen == [ALICE, BOB, *(f"u{n}@home.example" for n in range(5))]


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x", "after=-1", "limit=%C2%B2", "after=" + "9" * 30])
async def test_a_wrong_number_is_named(api: Api, query: str) -> None:
    answer = await api("GET", f"/v1/subscribers?{query}")
    assert (answer.status, answer.body["field"]) == (422, query.partition("=")[0])


async def test_a_profile_is_replaced_and_keys_stay(api: Api) -> None:
    before = api.hss.administration.keys((await api.hss.administration.show(BOB)).privates[0])[0].reveal()
    profile = {"impus": [BOB_IMPU, "tel:+15559"], "visited-networks": ["*"]}
    answer = await api("PUT", f"/v1/subscribers/{BOB}", profile)
    assert answer.body == {"impi": BOB, "s-cscf": "not-needed", "profile": profile}
    assert api.hss.administration.keys((await api.hss.administration.show(BOB)).privates[0])[0].matches(before)
    refused = await api("PUT", f"/v1/subscribers/{BOB}", {**profile, **CARD})
    assert (refused.status, refused.body["field"]) == (422, "k")


async def test_a_patch_bars_one_identity_and_the_s_cscf_learns_it(api: Api) -> None:
    served = await registered(api.hss)
    path = "/v1/subscribers/sip%3Aalice%40home.example"
    barred = await api("PATCH", path, {"barred": ["tel:+15550001"]})
    assert barred.body["s-cscf"] == "told"
    assert [one.barred for one in served.pushed[0].identities] == [False, True]
    lifted = await api("PATCH", path, {"barred": None}, headers={"Content-Type": "application/merge-patch+json"})
    assert "barred" not in lifted.body["profile"]
    assert [one.barred for one in served.pushed[1].identities] == [False, False]
    assert not served.terminated


@pytest.mark.parametrize("how", ["deregister", "reassign", "DELETE", "bar"])
async def test_registrations_end_at_the_s_cscf(api: Api, how: str) -> None:
    served = await registered(api.hss)
    path = f"/v1/subscribers/{ALICE}"
    if how == "DELETE":
        answer = await api("DELETE", path)
    elif how == "bar":
        answer = await api("PATCH", path, {"barred": [ALICE_IMPU, "tel:+15550001"]})
    else:
        answer = await api("POST", f"{path}/{how}")
    assert (answer.status, answer.body["s-cscf"]) == (200, "told")
    assert served.terminated[0].impi == ALICE


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        (b"{", 400, None),
        (b"\xff", 400, None),
        (b"7", 422, "body"),
        (b"[" * 200_000, 422, "body"),
        (b'{"impi": "x@home.example", "k": "00", "sets": ' + b"[" * 200_000, 422, "sets"),
        (b"{}", 422, "impi"),
        ({"impi": "x@home.example", "k": "zz"}, 422, "k"),
        ({"impi": "x@home.example", "k": 7}, 422, "k"),
        ({"impi": "x", **CARD}, 422, "impi"),
        ({"impi": "x@home.example", **CARD, "colour": "red"}, 422, "colour"),
        ({"impi": "x@home.example", **CARD, "impus": "sip:x@home.example"}, 422, "impus"),
        ({"impi": "x@home.example", **CARD, "impus": [ALICE_IMPU]}, 409, "impus"),
        ({"impi": "x@home.example", **CARD, "sets": [{"service_profiles": 3}]}, 422, "sets"),
        ({"impi": "x@home.example", **CARD, "sets": [[]]}, 422, "sets"),
        ({"impi": K.hex(), **CARD}, 422, "impi"),
        ([], 201, None),
    ],
)
async def test_a_wrong_body_is_told_by_field_and_changes_nothing(
    api: Api, body: Any, status: int, field: str | None
) -> None:
    answer = await api("POST", "/v1/subscribers", body)
    assert answer.status == status
    if status != 201:
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.body.get("field") == field
    assert K.hex() not in json.dumps(answer.body)
    assert len((await api("GET", "/v1/subscribers")).body["subscribers"]) == 2


async def test_a_patch_that_is_nested_without_end_is_400(api: Api) -> None:
    answer = await api("PATCH", f"/v1/subscribers/{ALICE}", b'{"sets": ' + b"[" * 200_000)
    assert (answer.status, answer.body["detail"]) == (400, "the body is no JSON: it is nested too deeply")


async def test_a_body_beyond_the_bound_is_413_and_not_kept(api: Api) -> None:
    answer = await api("POST", "/v1/subscribers", b" " * (HSS_REST_BODY_OCTETS + 1))
    assert answer.status == 413


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/v1/subscribers/", 404),
        ("PUT", "/v1/subscribers", 405),
        ("POST", f"/v1/subscribers/{ALICE}/promote", 404),
        ("DELETE", "/v1/subscribers/nobody@home.example", 404),
        ("DELETE", "/v1/subscribers/sip:", 422),
        ("POST", "/v1/subscribers/nobody@home.example/deregister", 404),
    ],
)
async def test_what_is_not_there_is_told_as_a_problem(api: Api, method: str, path: str, status: int) -> None:
    answer = await api(method, path)
    assert (answer.status, answer.body["status"]) == (status, status)


async def test_405_names_the_methods_that_there_are(api: Api) -> None:
    answer = await api("POST", f"/v1/subscribers/{ALICE}")
    assert set(answer.headers["Allow"].split(", ")) == {"GET", "HEAD", "PUT", "PATCH", "DELETE"}


async def test_another_media_type_is_415(api: Api) -> None:
    answer = await api("POST", "/v1/subscribers", b"{}", headers={"Content-Type": "text/plain"})
    assert answer.status == 415


async def test_an_identity_that_only_a_wildcard_matches_is_nobodys_to_remove(api: Api) -> None:
    rooms = {"impi": "pbx@home.example", **CARD, "wildcards": ["sip:room!.*!@home.example"]}
    assert (await api("POST", "/v1/subscribers", rooms)).status == 201
    assert (await api("DELETE", "/v1/subscribers/sip:room5@home.example")).status == 404
    assert (await api("GET", "/v1/subscribers/pbx@home.example")).status == 200


async def test_a_store_that_cant_be_written_is_503_and_works_again_by_itself(api: Api, tmp_path: Path) -> None:
    path = f"/v1/subscribers/{ALICE}/deregister"
    with sqlite3.connect(tmp_path / "hss.sqlite", isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        answer = await api("POST", path)
        assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
        other.execute("ROLLBACK")
    assert (await api("POST", path)).status == 200


async def test_a_connection_that_sends_no_whole_header_is_bounded(api: Api) -> None:
    answer = await api.raw(b"GET /v1/status HTTP/1.1\r\nX: " + b"x" * (HSS_REST_HEADER_OCTETS + 65536))
    assert answer.startswith(b"HTTP/1.1 400") or answer == b""


def matches(description: dict[str, Any], schema: dict[str, Any], value: Any) -> None:
    jsonschema.Draft202012Validator({**schema, "components": description["components"]}).validate(value)


async def test_the_description_is_openapi_3_1_and_the_answers_are_as_described(api: Api) -> None:
    description = (await api("GET", "/v1/openapi.json")).body
    official = json.loads((VECTORS / "oas-3.1-schema-2022-10-07.json").read_text())
    jsonschema.Draft202012Validator(official).validate(description)
    for schema in description["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)
    await registered(api.hss)
    for method, path, body in (
        ("GET", "/v1/status", None),
        ("POST", "/v1/subscribers", {"impi": "x@home.example", **CARD, "wildcards": ["sip:room!.*!@home.example"]}),
        ("POST", "/v1/subscribers", [{"impi": "x@home.example", **CARD}]),
        ("POST", "/v1/subscribers", {"impi": "y@home.example"}),
        ("GET", "/v1/subscribers", None),
        ("GET", f"/v1/subscribers/{ALICE}", None),
        ("PUT", f"/v1/subscribers/{ALICE}", {"impus": [ALICE_IMPU]}),
        ("PATCH", f"/v1/subscribers/{ALICE}", {"capabilities": [4]}),
        ("POST", f"/v1/subscribers/{ALICE}/deregister", None),
        ("POST", f"/v1/subscribers/{ALICE}/reassign", None),
        ("DELETE", f"/v1/subscribers/{ALICE}", None),
        ("DELETE", f"/v1/subscribers/{ALICE}", None),
    ):  # fmt: skip
        answer = await api(method, path, body)
        template = path.replace(ALICE, "{identity}")
        responses = description["paths"][template][method.lower()]["responses"]
        (content,) = responses[str(answer.status)]["content"].items()
        assert answer.headers["Content-Type"] == content[0]
        matches(description, content[1]["schema"], answer.body)


async def test_no_answer_holds_a_key(api: Api) -> None:
    await api("POST", "/v1/subscribers", {"impi": "x@home.example", **CARD})
    for path in ("/v1/subscribers", "/v1/subscribers/x@home.example", "/v1/status"):
        text = json.dumps((await api("GET", path)).body)
        assert K.hex() not in text
        assert OPC.hex() not in text


async def test_https_serves_beyond_loopback_and_http_does_not(api: Api, tmp_path: Path) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    issued.private_key_pem.write_to_path(tmp_path / "key.pem")
    issued.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    for refused, why in (
        ("http:0.0.0.0:0", "would show the token"),
        ("https:127.0.0.1:0", "needs hss.rest-certificate"),
        ("ftp:127.0.0.1:0", "is not SCHEME:HOST:PORT"),
    ):
        with pytest.raises(ConfigError, match=why):
            await started(api.hss, tmp_path, refused)
    pair = {"rest_certificate": "cert.pem", "rest_key": "key.pem"}
    server = await started(api.hss, tmp_path, "https:0.0.0.0:0", **pair)
    context = ssl.create_default_context()
    authority.configure_trust(context)

    def ask() -> int:
        connection = http.client.HTTPSConnection("127.0.0.1", server.address[1], context=context, timeout=10)
        connection.request("GET", "/v1/status", headers={"Authorization": f"Bearer {api.token}"})
        status = connection.getresponse().status
        connection.close()
        return status

    assert await asyncio.to_thread(ask) == 200
    await server.close()


def test_a_token_that_others_can_read_or_that_is_short_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rest.token"
    with pytest.raises(ConfigError, match="redoubt init"):
        read_token_file(path)
    write_token_file(path, SeededRandomness(1))
    assert path.stat().st_mode & 0o777 == 0o600
    assert len(read_token_file(path)) == 43
    with pytest.raises(ConfigError, match="exists"):
        write_token_file(path, SeededRandomness(1))
    os.chmod(path, 0o640)
    with pytest.raises(ConfigError, match="chmod 600"):
        read_token_file(path)
    os.chmod(path, 0o600)
    path.write_text("short\n")
    with pytest.raises(ConfigError, match="at least 43"):
        read_token_file(path)
