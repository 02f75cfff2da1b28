"use strict";
for (const button of document.querySelectorAll("table.sortable th button")) {
  button.addEventListener("click", () => {
    const head = button.closest("th");
    const table = head.closest("table");
    const body = table.tBodies[0];
    const place = head.cellIndex;
    const up = head.getAttribute("aria-sort") !== "ascending";
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const value = (row) => row.cells[place].dataset.value ?? "";
    const numeric = head.dataset.kind === "number";
    const compare = (a, b) => {
      const x = value(a), y = value(b);
      if (!numeric) return up ? x.localeCompare(y) : y.localeCompare(x);
      if (x === "" || y === "") return (x === "") - (y === "");
      return up ? x - y : y - x;
    };
    body.append(...[...body.rows].sort(compare));
  });
}
