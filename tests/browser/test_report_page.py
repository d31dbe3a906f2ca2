"""The report in a real browser: it opens, sorts, filters, prints, fits a phone, and can be read by everybody."""

import base64
import io
import json

import numpy as np
import pytest
from matplotlib.image import imread

BOARD = "section[id$=leaderboard]"
CELLS = """
const [selector, column] = arguments;
return [...document.querySelectorAll(selector + ' .table:first-of-type tbody tr')]
  .filter(row => !row.hidden).map(row => row.cells[column].childNodes[0]?.textContent ?? '');
"""
CONTRAST = """
const canvas = document.createElement('canvas'); canvas.width = canvas.height = 1;
const context = canvas.getContext('2d', {willReadFrequently: true});
function over(colours) {
  context.clearRect(0, 0, 1, 1);
  for (const colour of colours) { context.fillStyle = colour; context.fillRect(0, 0, 1, 1); }
  return [...context.getImageData(0, 0, 1, 1).data].slice(0, 3);
}
function light(rgb) {
  const [r, g, b] = rgb.map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}
const found = [];
for (const details of document.querySelectorAll('details')) details.open = true;
for (const element of document.querySelectorAll('body *:not(script)')) {
  const own = [...element.childNodes].some(node => node.nodeType === 3 && node.textContent.trim());
  if (!own || !element.getClientRects().length || element.closest('.skip')) continue;
  const behind = [];
  for (let place = element; place; place = place.parentElement) behind.unshift(getComputedStyle(place).backgroundColor);
  const style = getComputedStyle(element);
  const ink = element.closest('svg') ? style.fill : style.color;
  const [a, b] = [light(over(behind)), light(over([...behind, ink]))];
  const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  if (ratio < 4.5) found.push([element.tagName, element.textContent.trim().slice(0, 40), ratio]);
}
return found;
"""
LABELS = """
const unnamed = [];
const name = element => element.getAttribute('aria-label') || element.textContent.trim();
for (const element of document.querySelectorAll('button, summary, a, [role=img], [role=region], th'))
  if (!name(element)) unnamed.push(element.outerHTML.slice(0, 80));
for (const input of document.querySelectorAll('input'))
  if (!input.labels.length) unnamed.push(input.outerHTML);
for (const drawing of document.querySelectorAll('svg'))
  if (!drawing.closest('[role=img][aria-label]')) unnamed.push('svg');
for (const image of document.querySelectorAll('img'))
  if (!image.alt) unnamed.push('img');
return unnamed;
"""
SCROLLS = """
return [...document.querySelectorAll('*')].filter(element =>
  element.scrollWidth > element.clientWidth + 1 && ['auto', 'scroll'].includes(getComputedStyle(element).overflowX)
  && element.tabIndex < 0).map(element => element.outerHTML.slice(0, 80));
"""

of_both_arms = pytest.mark.parametrize("opened", ["page", "labels_page"], indirect=True)


def picture(driver):
    return imread(io.BytesIO(base64.b64decode(driver.get_screenshot_as_base64())))[..., :3]


def click(driver, selector):
    driver.execute_script("document.querySelector(arguments[0]).click()", selector)


@of_both_arms
def test_it_opens_without_a_word_of_complaint(opened):
    driver = opened()
    assert driver.title in {"Benchmark report: small", "Benchmark report: labels"}
    assert [entry for entry in driver.get_log("browser") if entry["level"] != "INFO"] == []
    requests = driver.execute_script("return performance.getEntriesByType('resource').map(entry => entry.name)")
    assert [name for name in requests if not name.startswith("data:")] == []


@of_both_arms
def test_a_screenshot_is_not_blank(opened):
    shot = picture(opened())
    assert (shot.min(axis=2) < 0.5).mean() > 0.01  # ink
    assert (shot.min(axis=2) > 0.9).mean() > 0.5  # paper
    assert len(np.unique(shot.reshape(-1, 3), axis=0)) > 50


@pytest.mark.parametrize("column", [2, 5])
def test_a_click_on_a_head_sorts(opened, column):
    driver = opened()
    head = f"{BOARD} thead th:nth-child({column + 1})"
    orders = []
    for expected in ("first", "second"):
        click(driver, f"{head} button")
        told = driver.execute_script(f"return document.querySelector('{head}').getAttribute('aria-sort')")
        values = [float(text.rstrip("*")) for text in driver.execute_script(CELLS, BOARD, column) if text]
        assert values == sorted(values, reverse=told == "descending"), expected
        orders.append(told)
    assert set(orders) == {"ascending", "descending"}
    assert driver.execute_script(f"return document.querySelectorAll('{BOARD} [aria-sort]').length") == 1


def test_words_are_sorted_as_words(opened):
    driver = opened()
    click(driver, f"{BOARD} thead th:nth-child(2) button")
    names = driver.execute_script(CELLS, BOARD, 1)
    assert names == sorted(names)
    assert len(names) == 5


def test_the_filter_narrows_rows_down(opened):
    from selenium.webdriver.common.by import By

    driver = opened()
    # five rows have no tools: those of the registry's table do
    place = "section[id$=metrics-and-their-marks]"
    search = driver.find_element(By.CSS_SELECTOR, f"{place} input[type=search]")
    before = len(driver.execute_script(CELLS, place, 0))
    search.send_keys("edistance")
    names = driver.execute_script(CELLS, place, 0)
    assert 0 < len(names) < before
    assert driver.find_element(By.CSS_SELECTOR, f"{place} [role=status]").text == f"{len(names)} of {before} rows"
    search.send_keys(" nonsense")
    assert driver.execute_script(CELLS, place, 0) == []


def test_everything_can_be_done_with_the_keyboard(opened):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    driver = opened()
    driver.find_element(By.TAG_NAME, "body").send_keys(Keys.TAB)
    assert driver.switch_to.active_element.get_attribute("class") == "skip"
    button = driver.find_element(By.CSS_SELECTOR, f"{BOARD} thead button")
    button.send_keys(Keys.ENTER)
    assert driver.execute_script(f"return document.querySelectorAll('{BOARD} [aria-sort]').length") == 1
    summary = driver.find_elements(By.CSS_SELECTOR, "section[id$=metric-by-metric] > details:not([open]) > summary")[0]
    summary.send_keys(Keys.ENTER)
    assert driver.execute_script("return arguments[0].parentElement.open", summary)
    assert driver.execute_script(SCROLLS) == []


@of_both_arms
def test_everything_has_a_name(opened):
    assert opened().execute_script(LABELS) == []


@of_both_arms
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out(opened, scheme):
    driver = opened(scheme=scheme)
    assert driver.execute_script(CONTRAST) == []


def test_the_dark_scheme_is_dark(opened):
    assert picture(opened(scheme="dark")).mean() < 0.3
    assert picture(opened(scheme="light")).mean() > 0.8


@of_both_arms
@pytest.mark.parametrize("width", [360, 768])
def test_it_fits_a_narrow_screen(opened, width):
    driver = opened(width=width)
    driver.execute_script("for (const each of document.querySelectorAll('details')) each.open = true")
    assert driver.execute_script("return [innerWidth, document.documentElement.scrollWidth]") == [width, width]


def test_it_reads_without_its_script(opened):
    driver = opened(script=False)
    tree = driver.execute_cdp_cmd("DOM.getDocument", {"depth": 0})
    html = driver.execute_cdp_cmd("DOM.getOuterHTML", {"nodeId": tree["root"]["nodeId"]})["outerHTML"]
    assert "<thead><tr><th" in html
    assert "<button" not in html
    assert 'class="tools" hidden' in html
    assert (picture(driver).min(axis=2) < 0.5).mean() > 0.01


def test_it_prints_with_everything_unfolded(opened):
    driver = opened()
    sheet = driver.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})
    content = base64.b64decode(sheet["data"])
    assert content.startswith(b"%PDF")
    assert content.count(b"/Type /Page\n") + content.count(b"/Type /Page ") > 5
    assert json.loads(driver.execute_script("return JSON.stringify(closed.length)")) > 20
    assert driver.execute_script("return document.querySelectorAll('details[open]').length") == 1


@pytest.mark.parametrize("opened", ["labels_page"], indirect=True)
def test_losses_are_sorted(opened):
    driver, losses = opened(), "section[id*=losses-compared]"
    click(driver, f"{losses} thead th:nth-child(2) button")
    values = [float(text.split()[0]) for text in driver.execute_script(CELLS, losses, 1)]
    assert len(values) == 5  # two losses, three baselines
    assert values == sorted(values) or values == sorted(values, reverse=True)


def test_a_link_into_a_fold_opens_it(opened):
    driver = opened()
    driver.execute_script("document.querySelector('details:not([open])').firstElementChild.id = 'inside'")
    driver.execute_script("location.hash = 'inside'")
    driver.execute_async_script("setTimeout(arguments[0], 100)")
    assert driver.execute_script("return document.getElementById('inside').parentElement.open")
