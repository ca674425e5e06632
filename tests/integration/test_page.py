"""The page about the API, in a real browser."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.integration.daemon import Daemon, bundle, running

pytestmark = pytest.mark.browser

ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
]  # fmt: skip


#: Asks for a job's removal in every way that a script may try, and tells what it got to see.
FOREIGN = """async (url) => {
    const outcomes = [];
    const tries = ["GET cors", "GET no-cors", "POST cors", "POST no-cors", "PUT cors", "DELETE cors"];
    for (const [method, mode] of tries.map((each) => each.split(" "))) {
        try {
            outcomes.push((await fetch(method === "DELETE" ? url : url + "/remove", {method, mode})).type);
        } catch (error) {
            outcomes.push("failed");
        }
    }
    return outcomes;
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=ARGUMENTS, env=dict(os.environ))
        yield browser
        browser.close()


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    with running(tmp_path / "state") as daemon:
        yield daemon


@pytest.fixture
def page(browser: Browser, daemon: Daemon) -> Iterator[Page]:
    context = browser.new_context()
    context.set_default_timeout(30_000)
    yield context.new_page()
    context.close()


def test_a_bundle_is_submitted_from_the_page(page: Page, daemon: Daemon, tmp_path: Path) -> None:
    wrong: list[str] = []
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda request: None if request.url.startswith((daemon.url, "data:")) else wrong.append(request.url))
    (tmp_path / "job.tar.gz").write_bytes(bundle('echo "from the page: $1"'))
    page.goto(f"{daemon.url}/api/spec.html#!/spec/post")
    page.locator("#operations-jobs-submit_job .opblock-summary").click()
    form = page.locator("#operations-jobs-submit_job")
    form.locator("input[type=file]").first.set_input_files(tmp_path / "job.tar.gz")
    form.locator("tr", has_text="job-arguments").locator("input[type=text], textarea").first.fill("hello")
    form.get_by_role("button", name="Execute").click()
    expect(form.locator(".live-responses-table .response .response-col_status")).to_contain_text("201")
    [entry] = daemon.get("/jobs").json()
    daemon.until(entry["id"], "completed")
    assert daemon.artifact(entry["id"], "stdout") == b"from the page: hello\n"
    assert wrong == []


def test_a_page_of_another_site_gets_nothing(page: Page, daemon: Daemon) -> None:
    job_id = daemon.submit("sleep 60")["job_id"]
    gone = f"{daemon.url}/jobs/{job_id}/remove"
    page.route("http://foreign.example/*", lambda route: route.fulfill(body="<html></html>", content_type="text/html"))
    page.goto("http://foreign.example/page")
    outcomes = page.evaluate(FOREIGN, f"{daemon.url}/jobs/{job_id}")
    assert len(outcomes) == 6
    assert set(outcomes) <= {"failed", "opaque"}
    for tag in ("img", "iframe", "script"):
        page.evaluate(f"(url) => document.body.appendChild(Object.assign(document.createElement('{tag}'), {{src: url}}))", gone)
    page.wait_for_timeout(500)
    assert daemon.job(job_id)["job_status"] in ("idle", "running")
