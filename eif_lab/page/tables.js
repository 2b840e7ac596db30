"use strict";
// Tables that are sorted by a click and filtered by words; both are in the address.

{
  /** What a row is sorted by: a number where the column has numbers, else its text; null for none. */
  function keyOf(row, column, numeric) {
    const cell = row.cells[column];
    if (!cell || cell.colSpan > 1) return null;
    if (!numeric) return cell.textContent.trim().toLowerCase();
    const value = parseFloat(cell.dataset.value);
    return Number.isNaN(value) ? null : value;
  }

  /** Sort the rows of each group; direction 0 is the order in which they came. */
  function sort(table, column, direction) {
    const headings = $$("thead th", table);
    headings.forEach((one, i) =>
      direction && i === column
        ? one.setAttribute("aria-sort", direction > 0 ? "ascending" : "descending")
        : one.removeAttribute("aria-sort"),
    );
    const numeric = headings[column].classList.contains("number");
    for (const body of table.tBodies) {
      const rows = [...body.rows].map((row) => [row, keyOf(row, column, numeric)]);
      const place = ([row]) => Number(row.dataset.place);
      rows.sort((a, b) => {
        if (!direction) return place(a) - place(b);
        if (a[1] === null || b[1] === null) return (a[1] === null) - (b[1] === null) || place(a) - place(b);
        const order = numeric ? a[1] - b[1] : a[1].localeCompare(b[1]);
        return direction * order || place(a) - place(b);
      });
      body.append(...rows.map(([row]) => row));
    }
  }

  /** Hide the rows that lack one of the words; say how many are left. */
  function filter(table, input) {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    const rows = [...table.tBodies].flatMap((body) => [...body.rows]);
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
    }
    const shown = rows.filter((row) => !row.hidden).length;
    $("output", input.closest(".filter")).textContent = words.length ? `${shown} of ${rows.length} rows` : "";
  }

  /** Show only the rows with some words, and go there. */
  function showOnly(id, words) {
    const input = $(`[data-table=${id}]`);
    const packed = $("#all-findings");
    if (packed) packed.open = true;
    input.value = words;
    input.dispatchEvent(new Event("input"));
    input.scrollIntoView({ block: "start" });
  }

  function makeSortable(table) {
    const name = table.id;
    [...table.tBodies].flatMap((body) => [...body.rows]).forEach((row, i) => {
      row.dataset.place = i;
    });
    const headings = $$("thead th", table);
    headings.forEach((heading, column) => {
      const button = element("button", { type: "button" }, ...heading.childNodes);
      heading.replaceChildren(button);
      button.addEventListener("click", () => {
        // numbers are wanted from the largest, names from the first; a third click gives the stored order back
        const first = heading.classList.contains("number") ? -1 : 1;
        const now = { ascending: 1, descending: -1 }[heading.getAttribute("aria-sort")] || 0;
        const next = now === 0 ? first : now === first ? -first : 0;
        sort(table, column, next);
        address.set(`${name}.sort`, next ? `${next > 0 ? "" : "-"}${button.textContent.trim()}` : null);
      });
    });
    const stored = address.get(`${name}.sort`) || "";
    const column = headings.findIndex((one) => one.textContent.trim() === stored.replace(/^-/, ""));
    if (stored && column >= 0) sort(table, column, stored.startsWith("-") ? -1 : 1);

    const input = $(`[data-table=${name}]`);
    input.closest(".filter").hidden = $$("tbody tr:not(.learner)", table).length < 2;
    input.value = address.get(`${name}.filter`) || "";
    input.addEventListener("input", () => {
      filter(table, input);
      address.set(`${name}.filter`, input.value.trim() || null);
    });
    filter(table, input);

    table.addEventListener("click", (event) => {
      const cell = event.target.closest("[data-show]");
      if (!cell) return;
      event.preventDefault();
      showOnly("findings", cell.dataset.show);
    });
    if ($("[data-show]", table)) withArrows(table, "[data-show]");
  }

  /** Say where a table goes on beyond the right or the lower edge of its box. */
  function tellOverflow(box) {
    const more = () => {
      box.dataset.more = box.scrollWidth - box.clientWidth - box.scrollLeft > 2 ? "more" : "";
      box.dataset.below = box.scrollHeight - box.clientHeight - box.scrollTop > 2 ? "more" : "";
    };
    box.addEventListener("scroll", more);
    new ResizeObserver(more).observe(box);
  }

  function prepare(within) {
    $$(".scroll", within).forEach(tellOverflow);
    $$("table.sortable", within).forEach(makeSortable);
  }

  /** What is packed of very many jobs comes into its place when it is first opened. */
  async function openPart({ target }) {
    const { part, index } = target.dataset;
    if (!part || !target.open || target.dataset.filled) return;
    target.dataset.filled = "filled";
    const texts = await content(part);
    target.append(element("template", { innerHTML: texts[index] }).content);
    prepare(target);
  }

  // the event does not bubble
  document.addEventListener("toggle", (event) => openPart(event).catch(trouble), true);
  prepare(document);
  $$("nav a").forEach((link) =>
    link.addEventListener("click", (event) => {
      event.preventDefault();
      const to = link.hash.slice(1);
      address.set("at", to);
      document.getElementById(to).scrollIntoView();
    }),
  );
}
