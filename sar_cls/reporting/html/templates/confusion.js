/* Confusion between classes: a map of shares with a cursor, shot group against shot group, and the pairs most confused. */
function decoded(entry) {
  if (entry.matrix || !entry.confusion) return entry.matrix || null;
  const { way, wide, data } = entry.confusion, size = entry.counts.length;
  const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0)), view = new DataView(bytes.buffer);
  const values = new Float64Array(size * size);
  if (way === "sparse") for (let at = 0; at < bytes.length; at += 8) values[view.getUint32(at, true)] = view.getUint32(at + 4, true);
  else if (way === "large") for (let index = 0; index < values.length; index++) values[index] = view.getFloat64(8 * index, true);
  else for (let index = 0; index < values.length; index++) values[index] = wide ? view.getUint32(4 * index, true) : view.getUint16(2 * index, true);
  const totals = Array.from({ length: size }, (_, row) => values.subarray(row * size, (row + 1) * size).reduce((sum, value) => sum + value, 0));
  entry.matrix = { size, values, totals, share: (row, column) => (totals[row] ? (100 * values[row * size + column]) / totals[row] : null) };
  return entry.matrix;
}
const SHOTS = [["many", (count) => count > 100], ["medium", (count) => count >= 20 && count <= 100], ["few", (count) => count < 20]];

function drawConfusion(place, a, b, names) {
  const one = decoded(a), other = a === b ? null : decoded(b);
  if (!one) { place.replaceChildren(node("p", { class: "quiet" }, `The runs of ${a.short} have no test outputs here, or there was no room for their matrix.`)); return; }
  const modes = [["a", a.short], ...(other && other.size === one.size ? [["b", b.short], ["difference", `${a.short} minus ${b.short}`]] : [])];
  const state = { mode: "a", at: [0, 0] };
  const order = names.map((_, index) => index).sort((x, y) => a.counts[y] - a.counts[x] || x - y);
  const value = (row, column) => (state.mode === "a" ? one.share(row, column) : state.mode === "b" ? other.share(row, column) : one.share(row, column) - other.share(row, column));
  const canvas = node("canvas", { tabindex: 0, role: "img" }), map = node("div"), pairs = node("div"), groups = node("div");
  const about = ([i, j]) => {
    const [row, column] = [order[i], order[j]];
    const text = [row === column ? `${names[row]}: right` : `${names[row]} taken for ${names[column]}`];
    text.push(`${a.short}: ${number(one.share(row, column), 1)} % (${one.values[row * one.size + column]} of ${one.totals[row]})`);
    if (modes.length > 1) text.push(`${b.short}: ${number(other.share(row, column), 1)} % (${other.values[row * one.size + column]} of ${other.totals[row]})`);
    return text;
  };
  const paint = () => {
    const width = Math.max(240, Math.min(520, place.clientWidth || 520)), cell = Math.max(1, Math.floor((width * 2) / one.size));
    canvas.width = canvas.height = cell * one.size;
    canvas.style.width = `${Math.min(width, canvas.width)}px`;
    canvas.setAttribute("aria-label", `Confusion of ${modes.find(([key]) => key === state.mode)[1]}: rows are true classes, columns what was said, classes from the most to the least frequent. The arrow keys read the cells; the pairs most confused stand in the table beside it.`);
    const style = getComputedStyle(document.documentElement), context = canvas.getContext("2d");
    const [ground, plus, minus] = ["--ground", "--heat", "--heat-minus"].map((name) => style.getPropertyValue(name).trim());
    context.fillStyle = ground;
    context.fillRect(0, 0, canvas.width, canvas.height);
    let most = 0;
    order.forEach((row) => order.forEach((column) => { if (row !== column || state.mode === "difference") most = Math.max(most, Math.abs(value(row, column) || 0)); }));
    order.forEach((row, i) => order.forEach((column, j) => {
      const share = value(row, column);
      if (!share) return;
      context.globalAlpha = Math.min(1, 0.08 + 0.92 * Math.sqrt(Math.abs(share) / (most || 1))) * (row === column && state.mode !== "difference" ? 0.35 : 1);
      context.fillStyle = share > 0 ? plus : minus;
      context.fillRect(j * cell, i * cell, cell, cell);
    }));
    context.globalAlpha = 1;
    if (document.activeElement === canvas) {
      context.strokeStyle = style.getPropertyValue("--focus");
      context.lineWidth = 3;
      context.strokeRect(state.at[1] * cell, state.at[0] * cell, cell, cell);
    }
  };
  const cellAt = (event) => {
    const area = canvas.getBoundingClientRect(), limit = (share) => Math.max(0, Math.min(one.size - 1, Math.floor(share * one.size)));
    return [limit((event.clientY - area.top) / area.height), limit((event.clientX - area.left) / area.width)];
  };
  canvas.addEventListener("pointermove", (event) => { state.at = cellAt(event); tip.show(about(state.at), event.clientX, event.clientY); });
  canvas.addEventListener("pointerleave", () => tip.hide());
  canvas.addEventListener("focus", paint);
  canvas.addEventListener("blur", () => { tip.hide(); paint(); });
  canvas.addEventListener("keydown", (event) => {
    const move = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] }[event.key];
    if (!move) return;
    event.preventDefault();
    state.at = state.at.map((at, axis) => Math.max(0, Math.min(one.size - 1, at + move[axis])));
    paint();
    const area = canvas.getBoundingClientRect();
    tip.show(about(state.at), area.left + ((state.at[1] + 0.5) / one.size) * area.width, area.top + ((state.at[0] + 0.5) / one.size) * area.height);
    tip.speak(about(state.at));
  });
  map.append(...(modes.length > 1 ? [node("div", { class: "controls" }, selection("Show", modes, "a", (mode) => { state.mode = mode; paint(); }))] : []), canvas,
    node("p", { class: "quiet" }, `Rows: true class; columns: what was said; both from the most (${names[order[0]]}) to the least frequent class (${names[order.at(-1)]}). Share of the true class's test ${a.view.classMetric.unit}s, pooled over ${plural(a.confusionRuns, "run")}; right answers are paler, so that mistakes show. In differences blue is more, orange less.`));
  pairs.append(confusedPairs(a, b, one, modes.length > 1 ? other : null, names));
  // Shot groups are by images: of pixels every class has many.
  const present = (a.view.classMetric.unit === "image" ? SHOTS : []).map(([name, fits]) => [name, names.map((_, index) => index).filter((index) => fits(a.counts[index]))]).filter(([, members]) => members.length);
  if (present.length > 1) groups.append(groupTable(a, one, present), ...(modes.length > 1 ? [groupTable(b, other, present)] : []));
  place.replaceChildren(node("div", { class: "side" }, map, node("div", {}, pairs, groups)));
  place.repaint = paint;
  paint();
}

function confusedPairs(a, b, one, other, names) {
  const found = [];
  for (let row = 0; row < one.size; row++) for (let column = 0; column < one.size; column++)
    if (row !== column && one.values[row * one.size + column]) found.push([row, column, one.share(row, column)]);
  found.sort((x, y) => y[2] - x[2]);
  return plainTable(`Most confused by ${a.short}`, ["True class", "taken for", a.short, ...(other ? [b.short] : []), `Training ${a.view.classMetric.unit}s, true / said`], found.slice(0, 12).map(([row, column, share]) =>
    [names[row], names[column], [`${number(share, 1)} %`, share], ...(other ? [[`${number(other.share(row, column), 1)} %`, other.share(row, column)]] : []), [`${a.counts[row]} / ${a.counts[column]}`, a.counts[row]]]));
}

function groupTable(entry, matrix, groups) {
  return plainTable(`${entry.short}: where the test images of a shot group went (many: above 100 training images, few: below 20)`, ["True class is", ...groups.map(([name]) => `said: ${name}`), "wrong in all"], groups.map(([name, rows]) => {
    const total = rows.reduce((sum, row) => sum + matrix.totals[row], 0);
    const shares = groups.map(([, columns]) => (100 * rows.reduce((sum, row) => sum + columns.reduce((part, column) => part + matrix.values[row * matrix.size + column], 0), 0)) / total);
    const right = (100 * rows.reduce((sum, row) => sum + matrix.values[row * matrix.size + row], 0)) / total;
    return [name, ...shares.map((share) => [`${number(share, 1)} %`, share]), [`${number(100 - right, 1)} %`, 100 - right]];
  }));
}
