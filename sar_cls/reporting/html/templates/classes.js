/* Two rows side by side, class by class: gain against class frequency, reliability, confusion, and all of it as a table. */
function drawClasses(figure, view) {
  const controls = figure.querySelector(".controls"), place = figure.querySelector(".chart");
  const able = view.entries.filter((entry) => entry.accuracy);
  const beside = (entry) => entry.baselineEntry && able.some((other) => other.key === entry.baselineEntry);
  const first = able.find((entry) => DATA.records[entry.runs[0]].method === "SAR" && beside(entry)) || able.find(beside) || able[0];
  const state = { a: first.key, b: beside(first) ? first.baselineEntry : (able.find((entry) => entry !== first && entry.accuracy.length === first.accuracy.length) || first).key };
  const options = (list) => list.map((entry) => [entry.key, `${entry.short} (${plural(entry.accuracyRuns, "run")})`]);
  const parts = { scatter: node("div"), reliability: node("div"), confusion: node("div"), table: node("div") };
  const heading = (text) => node("h4", {}, text), metric = view.classMetric;
  const dense = metric.unit === "pixel"; // of a segmentation net's pixels no confidence is kept
  const pair = () => [entries.get(state.a), entries.get(state.b)];
  const names = (entry) => entry.accuracy.map((_, index) => (entry.names && entry.names[index]) || String(index));

  const scatter = keepDrawnLater(parts.scatter, (width) => {
    const [a, b] = pair();
    drawGain(parts.scatter, width, a, b, names(a), metric);
  }, 330);
  const reliability = keepDrawnLater(parts.reliability, (width) => {
    const drawn = [...new Set(pair())].filter((entry) => entry.reliability);
    if (!drawn.length) { parts.reliability.replaceChildren(node("p", { class: "quiet" }, "The runs of these rows have no test outputs here.")); return; }
    const lines = drawn.map((entry) => ({ name: `${entry.short}, ECE ${number(entry.reliability.ece)} %`, color: entry.color, dash: entry.dash, x: entry.reliability.confidence, y: entry.reliability.accuracy, counts: entry.reliability.count }));
    parts.reliability.replaceChildren(node("p", { class: "quiet" }, lines.map((line) => line.name).join("; ") + " (test images of all seeds pooled; the larger a dot, the more of them; thin dashes: perfect)"));
    const chart = node("div");
    parts.reliability.append(chart);
    lineChart(chart, width, lines, { xLabel: "Confidence (%)", yLabel: "Accuracy (%)", yDomain: [0, 100], diagonal: true, unit: "%", label: `Reliability: ${lines.map((line) => line.name).join(", ")}` });
  }, 330);
  const update = () => {
    let [a, b] = pair();
    const fitting = able.filter((entry) => entry.accuracy.length === a.accuracy.length);
    if (!fitting.includes(b)) { state.b = (fitting.find((entry) => entry !== a) || a).key; b = entries.get(state.b); }
    controls.replaceChildren(selection("Row", options(able), state.a, (value) => { state.a = value; update(); }),
      selection("compared with", options(fitting), state.b, (value) => { state.b = value; update(); }),
      ...(view.shared ? [node("p", { class: "quiet" }, view.shared)] : []));
    scatter.again(); reliability.again();
    drawConfusion(parts.confusion, a, b, names(a));
    numbersBelow(parts.table, `All ${a.accuracy.length} classes as a table`, () => plainTable(`${metric.heading} of each class in percent: ${a.short} against ${b.short}`,
      ["Class", `Training ${metric.unit}s`, a.short, b.short, "Difference"], a.accuracy.map((value, index) => {
        const other = b.accuracy[index], gain = known(value) && known(other) ? value - other : null;
        return [[names(a)[index], null], [String(a.counts[index]), a.counts[index]], [number(value), value], [number(other), other], [signed(gain), gain]];
      })));
  };
  place.replaceChildren(
    node("div", { class: "side" }, node("div", {}, heading("Gain of each class against its frequency"), parts.scatter), ...(dense ? [] : [node("div", {}, heading("Reliability"), parts.reliability)])),
    heading("Confusion"), parts.confusion, parts.table);
  scatter.start();
  if (!dense) reliability.start();
  update();
}
/* Like keepDrawn, for a place that is not yet in the page. */
function keepDrawnLater(place, draw, paper) {
  let drawing = null;
  return { start() { drawing = keepDrawn(place, draw, paper); }, again() { if (drawing) drawing.again(); } };
}

function drawGain(place, width, a, b, names, metric) {
  const points = a.accuracy.map((value, index) => ({ index, count: a.counts[index], gain: known(value) && known(b.accuracy[index]) ? value - b.accuracy[index] : null })).filter((point) => known(point.gain));
  if (!points.length) { place.replaceChildren(node("p", { class: "quiet" }, `No class has an ${metric.name} in both rows.`)); return; }
  const counts = points.map((point) => point.count), [least, most] = [Math.min(...counts), Math.max(...counts)];
  const even = least === most, log = least > 0 && most > 5 * least;
  const x = even ? { domain: [-0.5, a.accuracy.length - 0.5], label: `Class (all have ${least} training ${metric.unit}s)`, whole: true }
    : { domain: log ? [least / 1.15, most * 1.15] : padded(counts, 1), log, label: `Training ${metric.unit}s of the class` };
  const height = Math.max(240, Math.min(360, width * 0.6)), gains = points.map((point) => point.gain);
  const mean = gains.reduce((sum, value) => sum + value, 0) / gains.length;
  const { root, plot, sx, sy, box, inner } = frame(width, height, { x, y: { domain: padded([...gains, 0], 2), label: `Difference in ${metric.name} (points)` },
    label: `${metric.heading} of each class, ${a.short} minus ${b.short}, against the class's training ${metric.unit}s; mean ${signed(mean)} points; ${gains.filter((gain) => gain > 0).length} classes gain, ${gains.filter((gain) => gain < 0).length} lose. Arrow keys read the classes.` });
  plot.append(shape("line", { class: "axis", x1: box.left, x2: box.left + inner.width, y1: sy(0), y2: sy(0), "stroke-width": 1.5 }));
  const at = (point) => [sx(even ? point.index : point.count), sy(point.gain)];
  const marks = points.map((point) => shape("circle", { cx: at(point)[0], cy: at(point)[1], r: 4.5, style: `fill:${a.color};stroke:var(--ground)`, "fill-opacity": 0.75 }));
  plot.append(...marks);
  const ordered = points.map((_, index) => index).sort((one, other) => points[other].count - points[one].count || points[one].index - points[other].index);
  let current = -1;
  const read = (index, clientX, clientY, aloud) => {
    marks.forEach((mark, other) => { mark.setAttribute("r", other === index ? 7 : 4.5); });
    const point = points[index];
    const text = [`${names[point.index]}, ${plural(point.count, `training ${metric.unit}`)}`, `${signed(point.gain)} points: ${number(a.accuracy[point.index])} against ${number(b.accuracy[point.index])}`];
    tip.show(text, clientX, clientY);
    if (aloud) tip.speak(text);
  };
  root.addEventListener("pointermove", (event) => {
    const area = root.getBoundingClientRect(), [px, py] = [((event.clientX - area.left) / area.width) * width, ((event.clientY - area.top) / area.height) * height];
    let nearest = 0, least = Infinity;
    points.forEach((point, index) => { const [qx, qy] = at(point), distance = (qx - px) ** 2 + (qy - py) ** 2; if (distance < least) [nearest, least] = [index, distance]; });
    if (least < 900) read(nearest, event.clientX, event.clientY, false); else tip.hide();
  });
  const leave = () => { marks.forEach((mark) => mark.setAttribute("r", 4.5)); tip.hide(); };
  root.addEventListener("pointerleave", leave);
  root.addEventListener("blur", leave);
  root.addEventListener("keydown", (event) => {
    const move = { ArrowRight: -1, ArrowLeft: 1 }[event.key]; // to the right there are more of them
    if (!move) return;
    event.preventDefault();
    current = Math.max(0, Math.min(ordered.length - 1, current + (even ? -move : move)));
    const index = ordered[current], area = root.getBoundingClientRect(), [px, py] = at(points[index]);
    read(index, area.left + (px / width) * area.width, area.top + (py / height) * area.height, true);
  });
  place.replaceChildren(node("p", { class: "quiet" }, `${a.short} minus ${b.short}: mean over classes ${signed(mean)} points; ${gains.filter((gain) => gain > 0).length} classes gain, ${gains.filter((gain) => gain < 0).length} lose.`), root);
}
