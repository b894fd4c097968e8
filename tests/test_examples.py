"""The examples run, and do in a real browser what they say."""

import contextlib
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import Browser, Page, expect
from system.node import Node, until

from bench.servers.processes import accepts, free_ports

PROJECT = Path(__file__).parent.parent
README = (PROJECT / "examples/README.md").read_text("utf-8")


@contextlib.contextmanager
def example(name: str, data: Path) -> Iterator[str]:
    """The example `name`, started by the line that its README has, beside a server that
    allows its origin; its URL."""
    (line,) = re.findall(rf"`\.venv/bin/python (examples/{name}\.py)`", README)
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    with Node("--allow-origin", url, "--data", str(data)) as node:
        places = {
            "ENCKE_URL": "http://{}:{}".format(*node.address),
            "ENCKE_CONTROL": "http://{}:{}".format(*node.control),
            "PORT": str(port),
        }
        command = [sys.executable, *shlex.split(line)]
        with subprocess.Popen(command, cwd=PROJECT, env={**os.environ, **places}) as process:
            try:
                until(lambda: accepts(port) or process.poll() is not None, "it listens")
                yield url
            finally:
                process.terminate()


@contextlib.contextmanager
def pages(browser: Browser, *urls: str) -> Iterator[list[Page]]:
    """A page of each, whose stream is open."""
    with contextlib.ExitStack() as opened:
        made = [opened.enter_context(contextlib.closing(browser.new_page())) for _ in urls]
        for page, url in zip(made, urls, strict=True):
            page.goto(url)
            expect(page.locator("body.open")).to_be_attached()
        yield made


def shows(page: Page, *lines: str) -> None:
    """`page` lists these lines, as soon as it does."""
    expect(page.locator("li")).to_have_text(list(lines))


def test_chat(browser: Browser, tmp_path: Path) -> None:
    """What one writes, all see, as it was written."""
    with example("chat", tmp_path) as url, pages(browser, url, url) as (ann, ben):
        for page, name, text in ((ann, "Ann", "Grüße an <b>alle</b>"), (ben, "Ben", "Hello Ann")):
            page.fill("[name=name]", name)
            page.fill("[name=text]", text)
            page.click("text=Say")
            for each in (ann, ben):
                expect(each.locator("li").last).to_have_text(name + text)


def test_feed(browser: Browser, tmp_path: Path) -> None:
    """Who follows sees the posts, from the next one on; who no longer does, doesn't."""
    with (
        example("feed", tmp_path) as url,
        pages(browser, f"{url}/ann", f"{url}/ben") as (ann, ben),
    ):
        post(ben, "nobody follows me")
        shows(ben, "bennobody follows me")
        ann.fill("[name=other]", "ben")
        ann.click("text='Follow'")
        expect(ann.locator("output")).to_have_text("following ben")
        post(ben, "hello Ann")
        shows(ann, "benhello Ann")
        ann.click("text='Unfollow'")
        expect(ann.locator("output")).to_have_text("not following ben")
        post(ben, "alone again")
        shows(ben, "benalone again", "benhello Ann", "bennobody follows me")
        shows(ann, "benhello Ann")


def post(page: Page, text: str) -> None:
    page.fill("[name=text]", text)
    page.click("text='Post'")
