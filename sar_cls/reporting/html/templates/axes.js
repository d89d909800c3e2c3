/* Axes, and lines over them that can be read at the pointer or with the arrow keys. */
function niceTicks(low, high, wanted) {
  const raw = (high - low) / Math.max(1, wanted), power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((value) => value >= raw * 0.999);
  const ticks = [];
  for (let tick = Math.ceil(low / step - 1e-9) * step; tick <= high + step * 1e-6; tick += step) ticks.push(Number(tick.toPrecision(12)));
  return ticks;
}
function logTicks(low, high) {
  const ticks = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++)
    for (const factor of [1, 2, 5]) { const tick = factor * 10 ** power; if (tick >= low && tick <= high) ticks.push(tick); }
  return ticks;
}
function padded(values, least, floor = -Infinity, ceiling = Infinity) {
  let low = Math.min(...values), high = Math.max(...values);
  const missing = Math.max(0, least - (high - low)) / 2, margin = (high - low) * 0.05;
  low -= missing + margin; high += missing + margin;
  return [Math.max(floor, low), Math.min(ceiling, high)];
}

/* A drawing with axes: returns the root, the plot's group, and the scales. */
function frame(width, height, { x, y, label, left = 52 }) {
  const box = { left, right: 14, top: 12, bottom: 44 };
  const inner = { width: width - box.left - box.right, height: height - box.top - box.bottom };
  const place = (value, [low, high], log) => (log ? (Math.log(value) - Math.log(low)) / (Math.log(high) - Math.log(low)) : (value - low) / (high - low || 1));
  const sx = (value) => box.left + inner.width * place(value, x.domain, x.log);
  const sy = (value) => box.top + inner.height * (1 - place(value, y.domain, y.log));
  const root = shape("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": label, tabindex: 0 });
  const plot = shape("g");
  const xTicks = x.ticks || (x.log ? logTicks(...x.domain) : niceTicks(...x.domain, Math.max(2, Math.floor(inner.width / 80))));
  let previous = -Infinity;
  for (const tick of xTicks.filter((value) => !x.whole || Number.isInteger(value))) {
    const at = sx(tick);
    root.append(shape("line", { class: "grid", x1: at, x2: at, y1: box.top, y2: box.top + inner.height }));
    if (at - previous < 34) continue;
    previous = at;
    root.append(shape("text", { x: at, y: box.top + inner.height + 16, "text-anchor": "middle" }, String(tick)));
  }
  for (const tick of y.ticks || niceTicks(...y.domain, Math.max(2, Math.floor(inner.height / 45)))) {
    root.append(shape("line", { class: "grid", x1: box.left, x2: box.left + inner.width, y1: sy(tick), y2: sy(tick) }));
    root.append(shape("text", { x: box.left - 6, y: sy(tick) + 4, "text-anchor": "end" }, String(tick)));
  }
  root.append(shape("text", { class: "quiet", x: box.left + inner.width / 2, y: height - 6, "text-anchor": "middle" }, x.label));
  if (y.label) root.append(shape("text", { class: "quiet", transform: `translate(12 ${box.top + inner.height / 2}) rotate(-90)`, "text-anchor": "middle" }, y.label));
  root.append(plot);
  return { root, plot, sx, sy, box, inner };
}

function path(xs, ys, sx, sy) {
  let text = "", pen = false;
  xs.forEach((value, index) => {
    if (!known(ys[index])) { pen = false; return; }
    text += `${pen ? "L" : "M"}${sx(value).toFixed(1)} ${sy(ys[index]).toFixed(1)}`;
    pen = true;
  });
  return text;
}
function band(xs, lows, highs, sx, sy) {
  const whole = xs.map((_, index) => index).filter((index) => known(lows[index]) && known(highs[index]));
  const up = whole.map((index) => `${sx(xs[index]).toFixed(1)} ${sy(highs[index]).toFixed(1)}`);
  const down = whole.reverse().map((index) => `${sx(xs[index]).toFixed(1)} ${sy(lows[index]).toFixed(1)}`);
  return up.length > 1 ? `M${up.join("L")}L${down.join("L")}Z` : "";
}

/* Lines: each {name, color, dash, x, y, low, high}. The values under the pointer stand in the tip; arrow keys move it. */
function lineChart(place, width, lines, { xLabel, yLabel, label, yDomain, whole, diagonal, unit = "" }) {
  const height = Math.max(220, Math.min(360, width * 0.55));
  const xs = [...new Set(lines.flatMap((line) => line.x))].sort((a, b) => a - b);
  const ys = lines.flatMap((line) => [...line.y, ...(line.low || []), ...(line.high || [])]).filter(known);
  if (!ys.length) { place.replaceChildren(node("p", { class: "quiet" }, "Nothing is chosen.")); return; }
  const xDomain = xs.length > 1 ? [xs[0], xs.at(-1)] : [xs[0] - 1, xs[0] + 1];
  const { root, plot, sx, sy, box, inner } = frame(width, height, {
    x: { domain: diagonal ? [0, 100] : xDomain, label: xLabel, whole }, y: { domain: yDomain || padded(ys, unit === "%" ? 2 : 0.01, 0, unit === "%" ? 100 : Infinity), label: yLabel }, label });
  if (diagonal) plot.append(shape("line", { class: "axis", x1: sx(0), y1: sy(0), x2: sx(100), y2: sy(100), "stroke-dasharray": "4 3" }));
  for (const line of lines) {
    if (line.low) plot.append(shape("path", { d: band(line.x, line.low, line.high, sx, sy), style: `fill:${line.color}`, "fill-opacity": 0.15 }));
    plot.append(shape("path", { d: path(line.x, line.y, sx, sy), fill: "none", style: `stroke:${line.color}`, "stroke-width": 2, "stroke-dasharray": line.dash }));
    const most = line.counts ? Math.max(...line.counts) : 0;
    const radius = (index) => (most ? 2 + 6 * Math.sqrt(line.counts[index] / most) : 3);
    if (line.x.length < 16) line.x.forEach((value, index) => known(line.y[index]) && plot.append(
      shape("circle", { cx: sx(value), cy: sy(line.y[index]), r: radius(index), style: `fill:${line.color}` })));
  }
  const rule = shape("line", { class: "axis", y1: box.top, y2: box.top + inner.height, visibility: "hidden" });
  plot.append(rule);
  let at = -1;
  const read = (index, clientX, clientY, aloud) => {
    at = Math.max(0, Math.min(xs.length - 1, index));
    rule.setAttribute("x1", sx(xs[at])); rule.setAttribute("x2", sx(xs[at])); rule.setAttribute("visibility", "visible");
    const text = [`${xLabel} ${number(xs[at], whole ? 0 : 1)}`, ...lines.map((line) => {
      const index = line.x.indexOf(xs[at]);
      if (index < 0 || !known(line.y[index])) return null;
      const range = line.low ? ` (${number(line.low[index])} to ${number(line.high[index])})` : "";
      const images = line.counts ? `, ${plural(line.counts[index], "image")}` : "";
      return `${line.name}: ${number(line.y[index])}${unit}${range}${images}`;
    }).filter(Boolean)];
    tip.show(text, clientX, clientY);
    if (aloud) tip.speak(text);
  };
  const leave = () => { rule.setAttribute("visibility", "hidden"); tip.hide(); };
  root.addEventListener("pointermove", (event) => {
    const area = root.getBoundingClientRect(), target = ((event.clientX - area.left) / area.width) * width;
    let nearest = 0;
    xs.forEach((value, index) => { if (Math.abs(sx(value) - target) < Math.abs(sx(xs[nearest]) - target)) nearest = index; });
    read(nearest, event.clientX, event.clientY, false);
  });
  root.addEventListener("pointerleave", leave);
  root.addEventListener("blur", leave);
  root.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1, PageDown: 10, PageUp: -10, Home: -1e9, End: 1e9 }[event.key];
    if (event.key === "Escape") leave();
    if (!step) return;
    event.preventDefault();
    const area = root.getBoundingClientRect(), next = Math.max(0, Math.min(xs.length - 1, at < 0 && step > 0 ? 0 : at + step));
    read(next, area.left + (sx(xs[next]) / width) * area.width, area.top + area.height / 3, true);
  });
  place.replaceChildren(root);
}

/* The rows of a figure as checkboxes with their line beside them, which is the legend as well. */
function rowChoice(lines, chosen, changed) {
  const boxes = lines.map((line, index) => {
    const input = node("input", { type: "checkbox", checked: chosen.has(index) });
    input.addEventListener("change", () => { if (input.checked) chosen.add(index); else chosen.delete(index); changed(); });
    return node("label", {}, input,
      shape("svg", { width: 28, height: 10, "aria-hidden": "true" }, shape("line", { x1: 0, x2: 28, y1: 5, y2: 5, style: `stroke:${line.color}`, "stroke-width": 2.5, "stroke-dasharray": line.dash })),
      `${line.short} (${plural(line.runs.length, "run")})`);
  });
  return node("fieldset", {}, node("legend", {}, "Rows"), ...boxes);
}
function selection(text, options, value, changed) {
  const select = node("select", {}, ...options.map(([key, name]) => node("option", { value: key, selected: key === value }, name)));
  select.addEventListener("change", () => changed(select.value));
  return node("label", {}, text, select);
}
