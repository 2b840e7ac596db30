"use strict";
(() => {
  const DIRECTIONS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  const SHADES = 255;
  const SMALLEST_VIEW = 4;
  const FONT = (ratio) => `${11 * ratio}px system-ui, sans-serif`;

  // --- one array ---

  /** One readout of one job, with the samples that its rows and columns are of. */
  async function openArray(job, readout) {
    const told = job.readouts[readout];
    const names = [
      "rows",
      "columns",
      "values",
      "offsets",
      "relations",
      "moved",
      "moved_values",
      "moved_relations",
      "strongest",
      "strongest_values",
      "strongest_relations",
    ];
    const [stimulus, probe, ...parts] = await Promise.all(
      [job.samples.stimulus, job.samples.probe, ...names.map((name) => told[name])].map(content),
    );
    const array = {
      job,
      readout,
      unit: told.unit,
      scales: told.scales,
      block: told.block,
      samples: { stimulus, probe },
    };
    names.forEach((name, i) => {
      array[name] = parts[i];
    });
    for (const table of [stimulus, probe]) table.labels ||= table.ids;
    array.height = array.rows.length / told.block[0];
    array.width = array.columns.length / told.block[1];
    return array;
  }

  /** The stimulus, probe, value and relation that a pair of units shows: its strongest cell. */
  function cellOf(array, row, column) {
    const at = row * array.width + column;
    const [height, width] = array.block;
    const offset = array.offsets[at];
    return {
      stimulus: array.rows[row * height + Math.floor(offset / width)],
      probe: array.columns[column * width + (offset % width)],
      value: array.values[at],
      relation: array.relations[at],
    };
  }

  // --- words ---

  function amount(value, unit) {
    if (Number.isNaN(value)) return "undefined";
    const magnitude = Math.abs(value);
    const digits =
      magnitude && (magnitude < 1e-3 || magnitude >= 1e6) ? value.toExponential(4) : Number(value.toPrecision(5));
    return `${value > 0 ? "+" : ""}${digits} ${unit}`.trim();
  }

  function nameOf(array, dim, index) {
    const table = array.samples[dim];
    const [id, label] = [table.ids[index], table.labels[index]];
    const neutral = table.neutral.includes(index) ? " (neutral)" : "";
    return (id === label ? label : `${label} · ${id}`) + neutral;
  }

  const cut = (text) => (text.length > 80 ? `${text.slice(0, 79)}…` : text);

  function fill(select, options, value) {
    select.replaceChildren(...options.map(([key, text]) => element("option", { value: key, textContent: cut(text) })));
    if (options.some(([key]) => String(key) === String(value))) select.value = value;
  }

  // --- orders: each is a list of units, and the groups that they fall into ---

  function unitSamples(array, dim) {
    const [units, size] = dim === "stimulus" ? [array.rows, array.block[0]] : [array.columns, array.block[1]];
    return Array.from({ length: units.length / size }, (_, i) => units[i * size]);
  }

  function sortedBy(keys, ties) {
    return Int32Array.from(keys.keys()).sort((a, b) => keys[a] - keys[b] || ties[a] - ties[b]);
  }

  function orderBy(array, dim, kind, row) {
    const first = unitSamples(array, dim);
    const groups = array.samples[dim].groups[kind];
    if (groups) {
      const keys = first.map((sample) => groups.codes[sample]);
      return { units: sortedBy(keys, first), keys, names: groups.names };
    }
    if (dim === "probe" && kind === "relation") {
      const keys = first.map((_, unit) => array.relations[row * array.width + unit]);
      return { units: sortedBy(keys, first), keys, names: data.relations };
    }
    if (dim === "probe" && kind === "influence") {
      const keys = first.map((_, unit) => -array.values[row * array.width + unit]);
      return {
        units: sortedBy(
          keys.map((key) => (Number.isNaN(key) ? Infinity : key)),
          first,
        ),
        keys: null,
      };
    }
    return { units: sortedBy(first, first), keys: null };
  }

  function orders(array) {
    const groups = { ...array.samples.stimulus.groups, ...array.samples.probe.groups };
    return [
      ["stored", "as stored"],
      ...Object.keys(groups).map((name) => [name, name === "sigma" ? "strength of noise" : name]),
      ["relation", "relation to the chosen stimulus"],
      ["influence", "influence of the chosen stimulus"],
    ];
  }

  // --- colours ---

  const shades = (() => {
    const table = new Uint32Array(SHADES + 1);
    const stops = data.colours;
    const packed = ([r, g, b]) => (255 << 24) | (b << 16) | (g << 8) | r;
    for (let i = 0; i < SHADES; i++) {
      const at = (i / (SHADES - 1)) * (stops.length - 1);
      const low = Math.min(Math.floor(at), stops.length - 2);
      table[i] = packed(stops[low].map((from, k) => Math.round(from + (at - low) * (stops[low + 1][k] - from))));
    }
    table[SHADES] = packed(data.undefined);
    return table;
  })();

  function shade(value, scale) {
    if (Number.isNaN(value)) return SHADES;
    const part = scale > 0 ? Math.max(-1, Math.min(1, value / scale)) : 0;
    return Math.round(((part + 1) / 2) * (SHADES - 1));
  }

  // --- the map: which pair of units each pixel shows, its colour, and where the pointer is ---

  class HeatMap {
    constructor(figure) {
      this.figure = figure;
      this.canvas = $("canvas", figure);
      this.array = null;
    }

    show(array, order, state) {
      Object.assign(this, { array, order, state });
      this.scale = array.scales[state.scale];
      this.draw();
    }

    /** Lay out and colour everything; pointing only adds to the picture that this leaves. */
    draw() {
      const { array, canvas } = this;
      const ratio = Math.min(window.devicePixelRatio || 1, 2);
      const room = canvas.parentElement.clientWidth;
      if (!room) return;
      const named = Math.min(this.roomFor(this.order.stimulus), 110, Math.round(room * 0.2));
      const under = Math.min(this.roomFor(this.order.probe), 110);
      const shape = array.job.shape[0] / array.job.shape[1];
      // cells are square where the screen allows it
      const tallest = Math.max(240, Math.min(680, window.innerHeight * 0.8));
      const tall = Math.max(Math.min(array.height > 240 ? 400 : 240, room), Math.min((room - named) * shape, tallest));
      const outer = Math.min(room, named + Math.max(tall / shape, 320));
      canvas.style.width = `${outer}px`;
      canvas.style.height = `${tall + under}px`;
      canvas.width = Math.round(outer * ratio);
      canvas.height = Math.round((tall + under) * ratio);
      this.ratio = ratio;
      this.plot = {
        left: Math.round(named * ratio),
        width: canvas.width - Math.round(named * ratio),
        height: Math.round(tall * ratio),
      };
      Object.assign(canvas.dataset, {
        left: this.plot.left / ratio,
        width: this.plot.width / ratio,
        height: this.plot.height / ratio,
      });
      this.colour();
      this.paint();
    }

    /** How long the names of an order's groups are, in CSS pixels. */
    roomFor({ keys, names }) {
      if (!keys) return 0;
      const context = this.canvas.getContext("2d");
      context.font = FONT(1);
      return Math.ceil(Math.max(...names.map((name) => context.measureText(name).width))) + 10;
    }

    colour() {
      const { width, height } = this.plot;
      const { view, relation } = this.state;
      const { array, order } = this;
      const columns = edges(view.left, view.right, width);
      const rows = edges(view.top, view.bottom, height);
      const image = new ImageData(width, height);
      const pixels = new Uint32Array(image.data.buffer);
      const shown = new Int32Array(width * height).fill(-1);
      for (let y = 0; y < height; y++) {
        for (let x = 0; x < width; x++) {
          let best = -1;
          let size = -1;
          for (let r = rows[2 * y]; r < rows[2 * y + 1]; r++) {
            const line = order.stimulus.units[r] * array.width;
            for (let c = columns[2 * x]; c < columns[2 * x + 1]; c++) {
              const at = line + order.probe.units[c];
              if (relation >= 0 && array.relations[at] !== relation) continue;
              const magnitude = Math.abs(array.values[at]);
              if (best < 0 || magnitude > size) {
                best = at;
                size = Number.isNaN(magnitude) ? -1 : magnitude;
              }
            }
          }
          shown[y * width + x] = best;
          if (best >= 0) pixels[y * width + x] = shades[shade(array.values[best], this.scale)];
        }
      }
      Object.assign(this, { image, shown });
    }

    paint() {
      const { canvas, plot, image, ratio } = this;
      if (!image) return;
      const context = canvas.getContext("2d");
      const style = getComputedStyle(document.documentElement);
      context.clearRect(0, 0, canvas.width, canvas.height);
      context.putImageData(image, plot.left, 0);
      this.nameGroups(context, style, ratio);
      context.lineWidth = ratio;
      context.strokeStyle = style.getPropertyValue("--line");
      context.strokeRect(plot.left + 0.5, 0.5, plot.width - 1, plot.height - 1);
      this.outline(context, style);
    }

    /** A line between groups, and the names of as many as have room. */
    nameGroups(context, style, ratio) {
      const {
        plot,
        state: { view },
        order,
      } = this;
      context.fillStyle = style.getPropertyValue("--ink");
      context.strokeStyle = "rgba(90, 98, 110, 0.55)";
      context.lineWidth = 1;
      context.font = FONT(ratio);
      context.textBaseline = "middle";
      context.textAlign = "right";
      const down = spans(order.stimulus, view.top, view.bottom, plot.height);
      const across = spans(order.probe, view.left, view.right, plot.width);
      for (const { from } of down) strokeLine(context, plot.left, from, plot.left + plot.width, from);
      for (const { from } of across) strokeLine(context, plot.left + from, 0, plot.left + from, plot.height);
      for (const group of apart(down, 12 * ratio)) {
        context.fillText(
          fit(context, group.name, plot.left - 8 * ratio),
          plot.left - 5 * ratio,
          (group.from + group.to) / 2,
        );
      }
      for (const group of apart(across, 12 * ratio)) {
        context.save();
        context.translate(plot.left + (group.from + group.to) / 2, plot.height + 5 * ratio);
        context.rotate(-Math.PI / 2);
        context.fillText(fit(context, group.name, this.canvas.height - plot.height - 8 * ratio), 0, 0);
        context.restore();
      }
    }

    /** The row of the chosen stimulus, the cell that was read, and the box that is being drawn. */
    outline(context, style) {
      const { plot, state, ratio } = this;
      const accent = style.getPropertyValue("--accent");
      const box = (row, column, rows, columns, colour, width) => {
        const [x, y, w, h] = this.rectangle(row, column, rows, columns);
        context.strokeStyle = colour;
        context.lineWidth = width * ratio;
        context.strokeRect(plot.left + x, y, w, h);
      };
      context.save();
      context.beginPath();
      context.rect(plot.left, 0, plot.width, plot.height);
      context.clip();
      box(state.row, 0, 1, this.array.width, accent, 1);
      if (state.cursor) box(state.cursor.row, state.cursor.column, 1, 1, "#000", 3);
      if (state.cursor) box(state.cursor.row, state.cursor.column, 1, 1, "#ffd400", 1.5);
      if (state.box) {
        const { x0, y0, x1, y1 } = state.box;
        box(Math.min(y0, y1), Math.min(x0, x1), Math.abs(y1 - y0), Math.abs(x1 - x0), "#000", 1);
      }
      context.restore();
    }

    rectangle(row, column, rows, columns) {
      const {
        plot,
        state: { view },
      } = this;
      const across = plot.width / (view.right - view.left);
      const down = plot.height / (view.bottom - view.top);
      return [(column - view.left) * across, (row - view.top) * down, columns * across, rows * down];
    }

    /** Where a cell ends on the screen. */
    corner(row, column) {
      const bounds = this.canvas.getBoundingClientRect();
      const [x, y, width, height] = this.rectangle(row, column, 1, 1);
      return [bounds.left + (this.plot.left + x + width) / this.ratio, bounds.top + (y + height) / this.ratio];
    }

    /** Where an event is, in places of the order; null outside. */
    place(event) {
      const bounds = this.canvas.getBoundingClientRect();
      const {
        plot,
        ratio,
        state: { view },
      } = this;
      const x = (event.clientX - bounds.left) * ratio - plot.left;
      const y = (event.clientY - bounds.top) * ratio;
      if (x < 0 || y < 0 || x >= plot.width || y >= plot.height) return null;
      return {
        x: view.left + (x / plot.width) * (view.right - view.left),
        y: view.top + (y / plot.height) * (view.bottom - view.top),
        at: this.shown[Math.floor(y) * plot.width + Math.floor(x)],
      };
    }
  }

  /** For each of n pixels the first place that it shows and the one after the last, of the places from..to. */
  function edges(from, to, n) {
    const ends = new Int32Array(2 * n);
    const step = (to - from) / n;
    for (let i = 0; i < n; i++) {
      ends[2 * i] = Math.floor(from + i * step);
      ends[2 * i + 1] = Math.max(ends[2 * i] + 1, Math.floor(from + (i + 1) * step));
    }
    return ends;
  }

  /** The groups between two places of an order, in pixels. */
  function spans(order, from, to, pixels) {
    if (!order.keys) return [];
    const found = [];
    const key = (place) => order.keys[order.units[place]];
    for (let start = Math.floor(from), place = start; place < to; place++) {
      if (place + 1 < to && key(place + 1) === key(place)) continue;
      const at = (where) => ((Math.max(from, Math.min(to, where)) - from) / (to - from)) * pixels;
      found.push({ name: order.names[key(place)], from: at(start), to: at(place + 1) });
      start = place + 1;
    }
    return found;
  }

  /** Those groups whose middles are so many pixels apart. */
  function apart(groups, pixels) {
    let last = -Infinity;
    return groups.filter(({ from, to }) => {
      const room = (from + to) / 2 - last >= pixels;
      if (room) last = (from + to) / 2;
      return room;
    });
  }

  function strokeLine(context, x0, y0, x1, y1) {
    context.beginPath();
    context.moveTo(Math.round(x0) + 0.5, Math.round(y0) + 0.5);
    context.lineTo(Math.round(x1) + 0.5, Math.round(y1) + 0.5);
    context.stroke();
  }

  function fit(context, text, room) {
    let shown = text;
    while (shown.length > 1 && context.measureText(shown).width > room) shown = `${shown.slice(0, -2)}…`;
    return shown;
  }

  // --- the page ---

  const controls = $("#controls");
  const main = new HeatMap($("#main-map"));
  const beside = new HeatMap($("#beside-map"));
  const state = { view: null, relation: -1, scale: 1, cursor: null, box: null, stimulus: 0, row: 0 };
  let array = null;
  let other = null;
  let order = null;

  function wholeView() {
    return { left: 0, right: array.width, top: 0, bottom: array.height };
  }

  /** The row unit that holds a stimulus. */
  function unitOf(stimulus) {
    return Math.floor(array.rows.indexOf(stimulus) / array.block[0]);
  }

  function arrange() {
    const kind = controls.order.value;
    const row = unitOf(state.stimulus);
    order = { stimulus: orderBy(array, "stimulus", kind, row), probe: orderBy(array, "probe", kind, row) };
    for (const dim of ["stimulus", "probe"]) {
      const by = Object.keys(array.samples[dim].groups)[0];
      if ((kind === "relation" || kind === "influence") && dim === "stimulus" && by)
        order.stimulus = orderBy(array, dim, by, row);
    }
    state.row = order.stimulus.units.indexOf(row);
    state.cursor = null;
  }

  function redraw() {
    state.relation = Number(controls.relation.value);
    state.scale = Number(controls.scale.value);
    beside.figure.hidden = !other;
    for (const [map, one] of [[main, array], ...(other ? [[beside, other]] : [])]) {
      map.show(one, order, state);
      const parts = [
        other ? one.job.name : "",
        `${one.readout}, ${one.unit || "no unit"}`,
        `${one.job.shape[0]} stimuli down, ${one.job.shape[1]} probes across`,
      ];
      $("figcaption", map.figure).textContent = parts.filter(Boolean).join(" · ");
      map.canvas.setAttribute("aria-label", `Influence array of ${one.job.name}: ${parts.slice(1).join(", ")}`);
      const [low, bar, high] = $(".legend", map.figure).children;
      low.textContent = amount(-Number(map.scale.toPrecision(3)), one.unit);
      high.textContent = amount(Number(map.scale.toPrecision(3)), one.unit);
      bar.style.background = `linear-gradient(to right, ${data.colours.map((c) => `rgb(${c})`).join(", ")})`;
    }
  }

  function paintAll() {
    main.paint();
    if (other) beside.paint();
  }

  function readCell(map, row, column) {
    const cell = cellOf(map.array, row, column);
    const output = $("#cell");
    $(".stimulus", output).textContent = nameOf(map.array, "stimulus", cell.stimulus);
    $(".probe", output).textContent = nameOf(map.array, "probe", cell.probe);
    $(".relation", output).textContent = data.relations[cell.relation];
    const value = $(".value", output);
    value.textContent = amount(cell.value, map.array.unit);
    Object.assign(value.dataset, { value: cell.value, stimulus: cell.stimulus, probe: cell.probe });
    const twin = map === main ? other : array;
    $(".other", output).textContent =
      twin && twin.block.every((side) => side === 1)
        ? `${amount(twin.values[row * twin.width + column], twin.unit)} in ${twin.job.name}`
        : "";
    const { job, readout } = map.array;
    $("#line").textContent =
      "from eif_lab import open_results\n" +
      `influence = open_results(${JSON.stringify(job.path)}).influence\n` +
      `cell = influence.sel(readout=${JSON.stringify(readout)})` +
      `.isel(step=-1, stimulus=${cell.stimulus}, probe=${cell.probe})\n` +
      'cell.mean("seed").item()';
    return cell;
  }

  /** What stands beside the pointer. */
  function cellText(map, cell) {
    return [
      amount(cell.value, map.array.unit),
      `stimulus: ${cut(nameOf(map.array, "stimulus", cell.stimulus))}`,
      `probe: ${cut(nameOf(map.array, "probe", cell.probe))}`,
      `relation: ${data.relations[cell.relation]}`,
    ].join("\n");
  }

  /** Read the cell at a place of the order. */
  function moveTo(map, row, column) {
    state.cursor = { row, column };
    const cell = readCell(map, order.stimulus.units[row], order.probe.units[column]);
    paintAll();
    return cell;
  }

  /** Read the strongest cell, so that something is read from the beginning. */
  function readStrongest() {
    if (!array.strongest.length) return;
    const probes = array.job.shape[1];
    const row = unitOf(Math.floor(array.strongest[0] / probes));
    const column = Math.floor(array.columns.indexOf(array.strongest[0] % probes) / array.block[1]);
    moveTo(main, order.stimulus.units.indexOf(row), order.probe.units.indexOf(column));
  }

  function pointAt(map, event) {
    const place = map.place(event);
    if (!place || place.at < 0) return null;
    const unit = [Math.floor(place.at / map.array.width), place.at % map.array.width];
    return moveTo(map, order.stimulus.units.indexOf(unit[0]), order.probe.units.indexOf(unit[1]));
  }

  function zoom(view) {
    const clamp = (low, high, size) => {
      const extent = Math.min(size, Math.max(SMALLEST_VIEW, high - low));
      const start = Math.max(0, Math.min(size - extent, (low + high - extent) / 2));
      return [start, start + extent];
    };
    const [left, right] = clamp(view.left, view.right, array.width);
    const [top, bottom] = clamp(view.top, view.bottom, array.height);
    state.view = { left, right, top, bottom };
    redraw();
    remember();
  }

  function zoomBy(factor, centre) {
    const { left, right, top, bottom } = state.view;
    const x = centre ? centre.x : state.cursor ? state.cursor.column + 0.5 : (left + right) / 2;
    const y = centre ? centre.y : state.cursor ? state.cursor.row + 0.5 : (top + bottom) / 2;
    zoom({
      left: x - (x - left) * factor,
      right: x + (right - x) * factor,
      top: y - (y - top) * factor,
      bottom: y + (bottom - y) * factor,
    });
  }

  function intoView({ row, column }) {
    const { left, right, top, bottom } = state.view;
    const shift = (at, low, high) => (at < low ? at - low : at + 1 > high ? at + 1 - high : 0);
    const [dx, dy] = [shift(column, left, right), shift(row, top, bottom)];
    if (dx || dy) zoom({ left: left + dx, right: right + dx, top: top + dy, bottom: bottom + dy });
  }

  function listen(map) {
    const { canvas } = map;
    let pressed = null;
    canvas.addEventListener("pointermove", (event) => {
      if (!pressed) {
        const cell = pointAt(map, event);
        if (cell) tip.show(cellText(map, cell), event.clientX, event.clientY);
        else tip.hide();
        return;
      }
      tip.hide();
      const place = map.place(event);
      if (place && event.pointerType !== "touch") {
        state.box = { x0: pressed.x, y0: pressed.y, x1: place.x, y1: place.y };
        paintAll();
      }
    });
    canvas.addEventListener("pointerdown", (event) => {
      pressed = map.place(event);
      if (pressed && event.pointerType !== "touch") canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointerleave", tip.hide);
    canvas.addEventListener("pointercancel", () => {
      pressed = state.box = null;
      paintAll();
    });
    canvas.addEventListener("pointerup", (event) => {
      const box = state.box;
      const clicked = pressed;
      pressed = state.box = null;
      if (box && Math.abs(box.x1 - box.x0) * main.plot.width > 6 * (state.view.right - state.view.left)) {
        zoom({
          left: Math.min(box.x0, box.x1),
          right: Math.max(box.x0, box.x1),
          top: Math.min(box.y0, box.y1),
          bottom: Math.max(box.y0, box.y1),
        });
        return;
      }
      const cell = clicked && pointAt(map, event);
      if (cell) choose(cell.stimulus);
    });
    canvas.addEventListener("dblclick", () => zoom(wholeView()));
    canvas.addEventListener(
      "wheel",
      (event) => {
        if (!event.ctrlKey && !event.metaKey) return;
        event.preventDefault();
        zoomBy(event.deltaY < 0 ? 0.8 : 1.25, map.place(event));
      },
      { passive: false },
    );
    canvas.addEventListener("keydown", (event) => {
      const [dx, dy] = DIRECTIONS[event.key] || [];
      if (dx !== undefined) {
        const from = state.cursor || { row: Math.floor(state.view.top), column: Math.floor(state.view.left) };
        const bound = (at, size) => Math.max(0, Math.min(size - 1, at));
        const to = state.cursor
          ? { row: bound(from.row + dy, array.height), column: bound(from.column + dx, array.width) }
          : from;
        intoView(to);
        const cell = moveTo(map, to.row, to.column);
        tip.show(cellText(map, cell), ...map.corner(to.row, to.column));
      } else if (event.key === "+" || event.key === "=") zoomBy(0.5);
      else if (event.key === "-") zoomBy(2);
      else if (event.key === "0") zoom(wholeView());
      else if (event.key === "Enter" && state.cursor) {
        choose(
          cellOf(map.array, order.stimulus.units[state.cursor.row], order.probe.units[state.cursor.column]).stimulus,
        );
      } else return;
      event.preventDefault();
    });
  }

  // --- one stimulus ---

  const sheets = new Map();

  function picture(dim, index, times) {
    const { sheet } = array.job;
    const place = sheet ? array.samples[dim].pictures[index] : -1;
    if (place < 0) return element("span");
    if (!sheets.has(sheet.picture)) {
      const name = `sheet-${sheets.size}`;
      const source = data.contents[sheet.picture].content;
      document.head.append(
        element("style", { textContent: `.${name} { background-image: url(data:image/webp;base64,${source}); }` }),
      );
      sheets.set(sheet.picture, name);
    }
    const [height, width] = sheet.tile;
    const enlarged = Math.max(1, Math.round(times / height));
    const made = element("span", { className: `picture ${sheets.get(sheet.picture)}` });
    made.setAttribute("role", "img");
    made.setAttribute("aria-label", nameOf(array, dim, index));
    const [left, top] = [(place % sheet.columns) * width, Math.floor(place / sheet.columns) * height];
    Object.assign(made.style, {
      width: `${width * enlarged + 2}px`,
      height: `${height * enlarged + 2}px`,
      backgroundSize: `${sheet.columns * width * enlarged}px ${sheet.rows * height * enlarged}px`,
      backgroundPosition: `-${left * enlarged}px -${top * enlarged}px`,
    });
    return made;
  }

  /** What a sample is: of a text its target is strong, of an image its class. */
  function described(dim, index) {
    const table = array.samples[dim];
    const [id, label] = [table.ids[index], table.labels[index]];
    const made = element("span");
    const bar = label.lastIndexOf("|");
    if (bar > 0) made.append(label.slice(0, bar), element("strong", { textContent: label.slice(bar + 1) }));
    else made.append(element("strong", { textContent: label }));
    if (id !== label && id.replace("| ", "|") !== label)
      made.append(element("span", { className: "small", textContent: id }));
    if (table.neutral.includes(index))
      made.append(element("span", { className: "small", textContent: "neutral: says nothing about any probe" }));
    return made;
  }

  function listMoved(list, start, count, sign) {
    const items = [];
    const width = array.moved.length / array.job.shape[0];
    for (let k = start; k < start + count; k++) {
      const at = state.stimulus * width + k;
      const value = array.moved_values[at];
      if (!(value * sign > 0)) continue;
      const words = described("probe", array.moved[at]);
      words.append(element("span", { className: "small", textContent: data.relations[array.moved_relations[at]] }));
      const item = element(
        "li",
        {},
        picture("probe", array.moved[at], 56),
        words,
        element("span", { className: "amount", textContent: amount(value, array.unit) }),
      );
      Object.assign(item.dataset, { value, probe: array.moved[at] });
      items.push(item);
    }
    list.replaceChildren(...(items.length ? items : [element("li", { textContent: "none" })]));
  }

  /** Choose a stimulus: the list below, the line in the array, and orders that depend on it. */
  function choose(stimulus) {
    state.stimulus = stimulus;
    $("#chosen").value = stimulus;
    $("#card").replaceChildren(picture("stimulus", stimulus, 84), described("stimulus", stimulus));
    const half = array.moved.length / array.job.shape[0] / 2;
    listMoved($("#raised"), 0, half, 1);
    listMoved($("#lowered"), half, half, -1);
    const depends = ["relation", "influence"].includes(controls.order.value);
    if (depends) arrange();
    else state.row = order.stimulus.units.indexOf(unitOf(stimulus));
    if (depends) redraw();
    else paintAll();
    remember();
  }

  function step(by) {
    const row = (order.stimulus.units.indexOf(unitOf(state.stimulus)) + by + array.height) % array.height;
    choose(
      array.block[0] === 1
        ? array.rows[order.stimulus.units[row]]
        : (state.stimulus + by + array.job.shape[0]) % array.job.shape[0],
    );
  }

  function listStrongest() {
    const probes = array.job.shape[1];
    $("#strongest tbody").replaceChildren(
      ...Array.from(array.strongest, (at, k) =>
        element(
          "tr",
          {},
          element("td", { className: "text", textContent: nameOf(array, "stimulus", Math.floor(at / probes)) }),
          element("td", { className: "text", textContent: nameOf(array, "probe", at % probes) }),
          element("td", { textContent: data.relations[array.strongest_relations[k]] }),
          element("td", { className: "right", textContent: amount(array.strongest_values[k], array.unit) }),
        ),
      ),
    );
  }

  /** What the page holds of the array, and what the numbers mean. */
  function tellWhatIsHeld() {
    const { block, job, unit } = array;
    const cells = job.shape.map((size) => size.toLocaleString("en")).join(" × ");
    const stimuli = block[0] === 1 ? "1 stimulus" : `${block[0]} stimuli`;
    const told = [
      block[0] * block[1] === 1
        ? `All ${cells} cells are in this page, in single precision.`
        : `This array has ${cells} cells, more than the page can hold: each block of ${stimuli} × ${block[1]} ` +
          "probes (neighbours by class or world where there is one) shows its cell of largest |I|, with its sign, " +
          "and names that very cell. What each stimulus moved most is found among all cells; others are read from Python.",
      "Where several cells share a pixel, the one of largest |I| is drawn.",
      job.steps > 1 ? `After step ${job.step}, the last of ${job.steps} stored.` : "",
      job.seeds > 1 ? `Mean over ${job.seeds} seeds.` : "",
      `Sign: ${job.sign || "after minus before"}. Unit: ${unit || "none"}.`,
    ];
    $("#held").textContent = told.filter(Boolean).join(" ");
  }

  function compatible(job) {
    return (
      job !== array.job &&
      job.samples.stimulus === array.job.samples.stimulus &&
      job.samples.probe === array.job.samples.probe &&
      job.readouts[array.readout] &&
      job.readouts[array.readout].rows === array.job.readouts[array.readout].rows &&
      job.readouts[array.readout].columns === array.job.readouts[array.readout].columns
    );
  }

  // --- what is chosen, and the address ---

  const CHOICES = ["job", "readout", "order", "relation", "scale", "beside"];
  const usual = { job: 0, scale: controls.scale.value, beside: "", relation: -1 };

  const viewText = ({ left, right, top, bottom }) =>
    [left, right, top, bottom].map((at) => Number(at.toFixed(2))).join();

  function remember() {
    for (const name of CHOICES) address.set(name, controls[name].value, usual[name]);
    address.set("stimulus", state.stimulus, usual.stimulus);
    address.set("view", viewText(state.view), viewText(wholeView()));
  }

  function remembered() {
    const names = [...CHOICES, "stimulus", "view"];
    return Object.fromEntries(names.map((name) => [name, address.get(name)]));
  }

  /** Show the job and the readout that are chosen. Whatever an address wants besides is followed where it fits. */
  async function openJob(wanted = {}) {
    const job = data.jobs[controls.job.value];
    const readouts = Object.keys(job.readouts);
    fill(
      controls.readout,
      readouts.map((name) => [name, name.replace("_", " ")]),
      wanted.readout ?? controls.readout.value,
    );
    usual.readout = readouts[0];
    const kept = array && array.job.samples.stimulus === job.samples.stimulus;
    array = await openArray(job, controls.readout.value);
    other = null;
    usual.stimulus = array.strongest.length ? Math.floor(array.strongest[0] / job.shape[1]) : 0;
    if (!kept) state.stimulus = usual.stimulus;
    if (array.samples.stimulus.ids[wanted.stimulus] !== undefined) state.stimulus = Number(wanted.stimulus);
    const found = data.jobs.flatMap((one, i) => (compatible(one) ? [[i, one.name]] : []));
    fill(controls.beside, [["", found.length ? "nothing" : "no job with the same samples"], ...found], wanted.beside);
    controls.beside.disabled = !found.length;
    const known = orders(array);
    usual.order = known[1][0] === "relation" ? "stored" : known[1][0];
    fill(controls.order, known, usual.order);
    if (known.some(([name]) => name === wanted.order)) controls.order.value = wanted.order;
    fill(
      controls.relation,
      [
        [-1, "every relation"],
        ...data.relations.map((name, i) => [i, `only ${name}`]).filter(([i]) => array.relations.includes(i)),
      ],
      wanted.relation ?? -1,
    );
    fill(
      $("#chosen"),
      array.samples.stimulus.ids.map((_, i) => [i, nameOf(array, "stimulus", i)]),
      state.stimulus,
    );
    $("#pictures").textContent = job.pictures_note;
    state.view = wholeView();
    tellWhatIsHeld();
    listStrongest();
    arrange();
    redraw();
    choose(state.stimulus);
    await openBeside();
    const [left, right, top, bottom] = (wanted.view || "").split(",").map(Number);
    if ([left, right, top, bottom].every(Number.isFinite)) zoom({ left, right, top, bottom });
    readStrongest();
    remember();
  }

  async function openBeside() {
    const index = controls.beside.value;
    other = index === "" ? null : await openArray(data.jobs[index], array.readout);
    redraw();
  }

  async function start() {
    if (!data.jobs.length) {
      $("#arrays").hidden = $("#stimulus").hidden = true;
      await forestsDrawn;
      ready();
      return;
    }
    const wanted = remembered();
    fill(
      controls.job,
      data.jobs.map((job, i) => [i, job.name]),
      wanted.job,
    );
    if (wanted.scale in controls.scale.options) controls.scale.value = wanted.scale;
    controls.addEventListener("submit", (event) => event.preventDefault());
    controls.addEventListener("change", ({ target }) => {
      if (target.name === "job" || target.name === "readout") openJob().then(ready, trouble);
      else if (target.name === "beside") openBeside().then(remember, trouble);
      else {
        if (target.name === "order") arrange();
        redraw();
        remember();
      }
    });
    $("#closer").addEventListener("click", () => zoomBy(0.5));
    $("#farther").addEventListener("click", () => zoomBy(2));
    $("#whole").addEventListener("click", () => zoom(wholeView()));
    $("#previous").addEventListener("click", () => step(-1));
    $("#next").addEventListener("click", () => step(1));
    $("#chosen").addEventListener("change", ({ target }) => choose(Number(target.value)));
    [main, beside].forEach(listen);
    await openJob(wanted);
    window.addEventListener("resize", redraw);
    window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", paintAll);
    await forestsDrawn;
    ready();
    document.getElementById(address.get("at"))?.scrollIntoView();
  }

  /** Says to whoever waits (a test, an assistive tool) that what was chosen is drawn. */
  function ready() {
    document.body.dataset.ready = `${controls.job.value} ${controls.readout.value}`;
  }

  start().catch(trouble);
})();
