"use strict";
// What is read without this script stays readable; it adds sorting, filtering and unfolding.

function value(row, column) {
  const cell = row.cells[column];
  const text = cell.dataset.sort ?? cell.textContent.trim();
  const number = Number(text);
  return text === "" || text === "nan" ? null : Number.isNaN(number) ? text : number;
}

function compare(a, b) {
  return typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
}

function sort(table, column, head) {
  const body = table.tBodies[0];
  const wasUp = head.getAttribute("aria-sort");
  const first = head.classList.contains("n") && !head.textContent.includes("↓") && !/rank|, s$|MB$/.test(head.textContent);
  const direction = wasUp === null ? (first ? "descending" : "ascending") : wasUp === "ascending" ? "descending" : "ascending";
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", direction);
  const rows = [...body.rows].map((row) => [value(row, column), row]);
  const sign = direction === "ascending" ? 1 : -1;
  rows.sort(([a], [b]) => (a === null) - (b === null) || sign * (a === null ? 0 : compare(a, b)));
  body.append(...rows.map(([, row]) => row));
}

function makeSortable(table) {
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => sort(table, column, head));
  });
}

function labelled(kind, text, before) {
  const label = document.createElement("label");
  const input = document.createElement("input");
  input.type = kind;
  label.append(...(before ? [input, " " + text] : [text, input]));
  return [label, input];
}

function makeFilter(tools) {
  const rows = [...tools.parentElement.querySelector("tbody").rows];
  const count = document.createElement("span");
  count.setAttribute("role", "status");
  const [searchLabel, search] = labelled("search", "Filter rows", false);
  const [boxLabel, box] = labelled("checkbox", "hide baselines", true);
  const apply = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word)) || (box.checked && row.classList.contains("baseline"));
    }
    count.textContent = `${rows.filter((row) => !row.hidden).length} of ${rows.length} rows`;
  };
  search.addEventListener("input", apply);
  box.addEventListener("change", apply);
  tools.append(searchLabel);
  if (rows.some((row) => row.classList.contains("baseline"))) tools.append(boxLabel);
  tools.append(count);
  tools.hidden = false;
  apply();
}

function unfoldAround(id) {
  let place = id && document.getElementById(id);
  for (; place; place = place.parentElement) if (place.tagName === "DETAILS") place.open = true;
}

document.querySelectorAll("main table").forEach(makeSortable);
document.querySelectorAll(".tools").forEach(makeFilter);
addEventListener("hashchange", () => unfoldAround(location.hash.slice(1)));
unfoldAround(location.hash.slice(1));

let closed = [];
addEventListener("beforeprint", () => {
  closed = [...document.querySelectorAll("details:not([open])")];
  for (const fold of closed) fold.open = true;
});
addEventListener("afterprint", () => closed.forEach((fold) => (fold.open = false)));
