"""Makes page.webp: what `faceanim web` looks like, with the portrait and the driver of this folder.

Needs Chromium, and: pip install 'faceanim-cli[browser]'
"""

import io
import shutil
import subprocess
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import expect, sync_playwright

HERE = Path(__file__).parent
SECONDS = 600 * 1000  # in which even a slow machine animates four of them


def main() -> None:
    """Animate the portrait on the page, and take a picture when the result plays."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    command = [sys.executable, "-m", "faceanim_cli", "web", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server, sync_playwright() as player:
        try:
            assert server.stdout is not None
            browser = player.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": 1100, "height": 800})
            page.set_default_timeout(SECONDS)
            page.goto(server.stdout.readline().strip())
            page.set_input_files("#photo-file", HERE / "portrait.jpg")
            page.set_input_files("#driver-file", HERE / "driver.mp4")
            expect(page.locator("#crop")).to_be_visible(timeout=SECONDS)
            page.click("#animate")
            page.wait_for_selector(".of-result:not([hidden])")
            page.wait_for_timeout(1500)  # in which the driver turns its head
            page.evaluate("() => document.querySelectorAll('video').forEach((video) => video.pause())")
            shot = page.screenshot(full_page=True)
            browser.close()
        finally:
            server.terminate()
    Image.open(io.BytesIO(shot)).save(HERE / "page.webp", quality=80, method=6)


if __name__ == "__main__":
    main()
