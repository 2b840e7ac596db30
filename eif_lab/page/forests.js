"use strict";
// Effects of all jobs: a chart for each finding, a row for each dataset, a shape for each model or method.

const forestsDrawn = (() => {
  const SHAPES = ["circle", "square", "triangle", "diamond", "star", "wye", "cross"];
  const COLOURS = 8; // --mark-0 ... in the style sheet: no divisor of the shapes, so that 56 marks differ
  const STEP = 11; // pixels between the marks of one dataset
  const BETWEEN = 10; // and between datasets

  const shapeOf = (labels, label) => SHAPES[labels.indexOf(label) % SHAPES.length];
  const colourOf = (labels, label) => `var(--mark-${labels.indexOf(label) % COLOURS})`;

  function key(labels, label) {
    const mark = { frameAnchor: "middle", symbol: shapeOf(labels, label), fill: colourOf(labels, label), r: 4 };
    const drawn = Plot.plot({ width: 16, height: 16, margin: 0, axis: null, marks: [Plot.dot([0], mark)] });
    drawn.setAttribute("aria-hidden", "true");
    return element("span", { className: "key-entry" }, drawn, ` ${label}`);
  }

  /** The scale holds the bar, the perfect learner and every finding that was tested; not shares of a strength near zero. */
  function domain(chart) {
    const tested = chart.rows.filter((row) => row.tested);
    const held = tested.length ? tested : chart.rows;
    const known = held.flatMap((row) => [row.low, row.high, row.effect, row.chance, row.bounds.perfect]);
    const ends = [...known, chart.bar].filter(Number.isFinite);
    const [low, high] = [Math.min(...ends), Math.max(...ends)];
    const beyond = (high - low || 1) * 0.08;
    return [low - beyond, high + beyond];
  }

  function draw(figure, chart, labels) {
    const rows = chart.rows.map((row, i) => {
      const place = chart.rows.slice(0, i).filter((one) => one.dataset === row.dataset).length;
      return { ...row, place };
    });
    const datasets = [...new Set(rows.map((row) => row.dataset))];
    const most = Math.max(...rows.map((row) => row.place)) + 1;
    const bounds = rows.flatMap((row) =>
      Object.entries(row.bounds).map(([rule, effect]) => ({ ...row, rule, effect })),
    );
    const [low, high] = domain(chart);
    const within = (value) => Math.max(low, Math.min(high, value));
    const at = { y: "place", fy: "dataset" };
    const colour = (row) => colourOf(labels, row.label);
    const margin = Math.min(130, 8 + 7 * Math.max(...datasets.map((name) => name.length)));
    const drawn = Plot.plot({
      width: Math.max(figure.clientWidth, 240),
      height: datasets.length * (most * STEP + BETWEEN) + 30,
      marginLeft: margin,
      marginTop: 4,
      marginBottom: 26,
      x: { label: null, grid: true, domain: [low, high] },
      y: { axis: null, domain: [...Array(most).keys()], type: "band" },
      fy: { label: null, domain: datasets, padding: 0.12 },
      marks: [
        Plot.frame({ stroke: "var(--line)", strokeOpacity: 0.6 }),
        Plot.axisFy({ anchor: "left", lineWidth: (margin - 8) / 12, textOverflow: "ellipsis", tickSize: 0 }),
        Plot.tickX(rows, { ...at, x: "chance", stroke: "var(--soft)", strokeWidth: 0.7 }),
        Plot.ruleX([chart.bar], { stroke: "var(--ink)", strokeDasharray: "4 3" }),
        Plot.tickX(bounds, { ...at, x: (one) => within(one.effect), stroke: (one) => `var(--${one.rule})`, strokeWidth: 2 }),
        Plot.ruleY(rows, { ...at, x1: (row) => within(row.low), x2: (row) => within(row.high), stroke: colour, strokeWidth: 1.5 }),
        Plot.dot(rows, {
          ...at,
          x: (row) => within(row.effect),
          symbol: (row) => shapeOf(labels, row.label),
          stroke: colour,
          fill: (row) => (row.verdict === "satisfied" ? colour(row) : "var(--ground)"),
          strokeOpacity: (row) => (row.verdict === "inconclusive" ? 0.5 : 1),
          r: 4,
          ariaLabel: "tip",
        }),
      ],
    });
    $("svg", figure)?.remove();
    figure.append(drawn);
    drawn.setAttribute("role", "group");
    drawn.setAttribute("aria-label", `${chart.title}; arrows move between marks`);
    tellMarks(drawn);
  }

  async function start() {
    const holder = $(".forests");
    if (!holder) return;
    const { labels, charts } = await content(data.forests);
    $("#shapes").replaceChildren(...labels.map((label) => key(labels, label)));
    const figures = charts.map(({ title, bar }) =>
      element("figure", { className: "forest" }, element("figcaption", { textContent: `${title} > ${bar}` })),
    );
    holder.replaceChildren(...figures);
    const drawAll = () => figures.forEach((figure, i) => draw(figure, charts[i], labels));
    const packed = $("#compared");
    if (packed) packed.addEventListener("toggle", drawAll);
    else drawAll();
    let width = holder.clientWidth;
    window.addEventListener("resize", () => {
      if (holder.clientWidth === width || !holder.clientWidth) return;
      width = holder.clientWidth;
      drawAll();
    });
  }

  /** Marks have their text beside the pointer, and beside themselves when the keyboard comes to them. */
  function tellMarks(drawn) {
    for (const mark of $$("[aria-label=dot] [aria-label]", drawn)) {
      mark.dataset.tip = mark.getAttribute("aria-label");
      mark.setAttribute("role", "img");
    }
    withArrows(drawn, "[data-tip]");
  }

  return start().catch(trouble);
})();
