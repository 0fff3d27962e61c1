"""Who may ask: names of hosts, origins of pages, and the token."""

from pathlib import Path

import pytest

from cxr.deploy.serve.guard import Access, check_origin
from cxr.deploy.serve.limits import RefusedError
from tests.helpers.serving import Serving, serving

TOKEN = "a-token-of-some-length"


@pytest.mark.parametrize("host", ["localhost", "localhost:80", "127.0.0.1:8000", "[::1]:8000", "LOCALHOST"])
def test_this_machine_is_known_by_its_usual_names(host: str) -> None:
    Access().check_host(host)


@pytest.mark.parametrize(
    "host", ["", "evil.example", "localhost.evil.example", "10.0.0.1", "127.0.0.1.nip.io", "["]
)
def test_a_name_that_was_turned_to_this_machine_is_refused(host: str) -> None:
    with pytest.raises(RefusedError):
        Access().check_host(host)


def test_an_exposed_server_is_called_by_its_address_or_a_name_that_was_given() -> None:
    access = Access(TOKEN, frozenset(["cxr.example"]), is_exposed=True)
    access.check_host("10.0.0.1:8000")
    access.check_host("cxr.example")
    with pytest.raises(RefusedError):
        access.check_host("evil.example")


@pytest.mark.parametrize("headers", [
    {}, {"origin": "http://localhost:1"}, {"origin": "https://localhost:1", "sec-fetch-site": "same-origin"},
])  # fmt: skip
def test_programs_and_our_own_page_may_post(headers: dict[str, str]) -> None:
    check_origin({"host": "localhost:1"} | headers)


@pytest.mark.parametrize("headers", [
    {"origin": "http://evil.example"}, {"origin": "null"}, {"origin": "http://localhost:2"}, {"origin": ""},
    {"sec-fetch-site": "cross-site"}, {"origin": "file://localhost:1"},
])  # fmt: skip
def test_pages_of_other_origins_may_not_post(headers: dict[str, str]) -> None:
    with pytest.raises(RefusedError):
        check_origin({"host": "localhost:1"} | headers)


def test_no_page_elsewhere_may_read_or_send(served: Serving, png: bytes) -> None:
    foreign = served.client.post("/predict", content=png, headers={"Origin": "http://evil.example"})
    assert foreign.status_code == 403
    assert served.client.get("/model", headers={"Host": "evil.example"}).status_code == 421
    asked = served.client.options("/predict", headers={"Origin": "http://evil.example"})
    answers = (foreign, asked, served.client.get("/model"))
    assert all("access-control-allow-origin" not in answer.headers for answer in answers)


def test_a_token_opens_all_but_the_page_and_health(wary: Path, png: bytes, served: Serving) -> None:
    with serving(wary, access=Access(TOKEN), runtime=served.runtime) as server:
        for path in ("/", "/page/main.js", "/healthz", "/readyz"):
            assert server.client.get(path).status_code == 200
        for path in ("/model", "/metrics", "/openapi.json"):
            assert server.client.get(path).status_code == 401
        wrong = {"Authorization": f"Bearer {TOKEN}x"}
        assert server.client.post("/predict", content=png, headers=wrong).status_code == 401
        right = {"Authorization": f"Bearer {TOKEN}"}
        assert server.client.post("/predict", content=png, headers=right).status_code == 200
