/* Sorting: a click on a heading sorts up, the next one down, a third restores the order of the table. */
function makeSortable(table) {
  const body = table.tBodies[0], original = [...body.rows], headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => heading.querySelector("button").addEventListener("click", () => {
    const before = heading.getAttribute("aria-sort");
    headings.forEach((other) => other.removeAttribute("aria-sort"));
    const direction = before === "ascending" ? "descending" : before === "descending" ? null : "ascending";
    if (direction) heading.setAttribute("aria-sort", direction);
    body.append(...(direction ? sorted(original, column, direction) : original));
    const name = heading.querySelector("button").textContent;
    tip.speak([direction ? `Sorted by ${name}, ${direction}` : "In the order of the table"]);
  }));
}
function sorted(rows, column, direction) {
  const sign = direction === "ascending" ? 1 : -1;
  const keys = new Map(rows.map((row) => [row, key(row.cells[column])]));
  return [...rows].sort((one, other) => {
    const [a, b] = [keys.get(one), keys.get(other)];
    if (a === null || b === null) return (a === null) - (b === null); // what has no value stands last, either way
    return sign * (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true }));
  });
}
function key(cell) {
  const text = cell.dataset.sort ?? cell.textContent.trim();
  if (text === "" || text === "–") return null;
  const value = Number(text);
  return Number.isNaN(value) ? text : value;
}
document.querySelectorAll("table.sortable").forEach(makeSortable);
