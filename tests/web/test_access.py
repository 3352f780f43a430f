"""Who gets in: nobody's page but ours, and with --host only who has the token."""

from pathlib import Path

import pytest

from .conftest import Person, running


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", ""])
def test_a_foreign_host_gets_nothing(person: Person, host: str) -> None:
    status, headers, _ = person.ask("GET", "/", headers={"Host": host})
    assert status in (400, 403)
    assert "Set-Cookie" not in headers
    assert person.ask("GET", "/api/choices", headers={"Host": host})[0] in (400, 403)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "127.0.0.1", "[::1]"])
def test_its_own_names_are_known(person: Person, host: str) -> None:
    assert person.ask("GET", "/", headers={"Host": f"{host}:{person.address.port}"})[0] == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:1", None])
@pytest.mark.parametrize("path", ["/api/jobs", "/api/faces"])
def test_another_pages_requests_change_nothing(person: Person, origin: str | None, path: str) -> None:
    status, sentence = person.error("POST", path, "{}", Origin=origin)
    assert (status, sentence) == (403, "Another page has sent this.")


def test_another_page_may_not_even_read(person: Person) -> None:
    assert person.error("GET", "/api/choices", **{"Sec-Fetch-Site": "cross-site"})[0] == 403
    assert person.ask("GET", "/", headers={"Sec-Fetch-Site": "cross-site"})[0] == 200  # a link to the page


@pytest.mark.parametrize("cookie", [None, "faceanim-1=x", "nonsense; =;"])
def test_nothing_without_the_pages_cookie(person: Person, cookie: str | None) -> None:
    assert person.error("GET", "/api/choices", Cookie=cookie)[0] == 403


def test_cookies_of_other_servers_do_no_harm(person: Person) -> None:
    """A browser sends those of all ports of a name, whatever is in them."""
    assert (
        person.ask("GET", "/api/choices", headers={"Cookie": f'a={{"b": "c"}}; d; {person.cookie}; é=1'})[0]
        == 200
    )


def test_one_person_does_not_see_anothers(person: Person) -> None:
    job, other = person.create(), Person(person.address)
    for method, path in (("POST", "cancel"), ("POST", "start"), ("PUT", "photo"), ("GET", "result.mp4")):
        assert other.error(method, f"/api/jobs/{job}/{path}")[0] == 404
    assert other.error("DELETE", f"/api/jobs/{job}")[0] == 404
    with other.news() as news:
        assert next(news) == {"ids": [], "changed": []}
    person.json("DELETE", f"/api/jobs/{job}")


def test_headers_keep_the_page_to_itself(person: Person) -> None:
    _, headers, _ = person.ask("GET", "/")
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy and "http" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert all(
        word in person.ask("GET", "/", headers={"Cookie": None})[1]["Set-Cookie"]
        for word in ("HttpOnly", "SameSite=Strict")
    )


def test_other_machines_need_the_token(rigid_weights_file: Path) -> None:
    with running(rigid_weights_file, host="127.0.0.1") as address:
        assert address.token is not None and len(address.token) >= 32
        assert address.url == f"http://127.0.0.1:{address.port}/?token={address.token}"
        known = Person(address)
        assert known.ask("GET", "/api/choices")[0] == 200
        for query in ("", "?token=", "?token=x", f"?token={address.token[:-1]}"):
            status, headers, body = known.ask("GET", f"/{query}", headers={"Cookie": None})
            assert status == 403 and "Set-Cookie" not in headers
            assert body == b"Open the address that faceanim web has printed, all of it."
        assert known.error("GET", "/api/choices", Cookie=None)[0] == 403
        assert known.ask("GET", "/")[0] == 200  # again, without the token: the cookie is enough


def test_page_files_are_all_there_is(person: Person) -> None:
    assert person.ask("GET", "/page/app.js")[0] == 200
    for path in ("/page/../server.py", "/page/%2e%2e/server.py", "/page//etc/passwd", "/etc/passwd"):
        assert person.ask("GET", path)[0] in (403, 404)
