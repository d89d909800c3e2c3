/* How the classes lie to each other: one point a class and seed, the same class joined over the seeds; two rows on the same axes. */
function drawMaps(figure, view) {
  const controls = figure.querySelector(".controls"), place = figure.querySelector(".chart"), maps = view.maps.entries;
  const able = view.entries.filter((entry) => maps[entry.key]), beside = (entry) => maps[entry.baselineEntry];
  const first = able.find((entry) => beside(entry) && maps[entry.key].anchors) || able.find(beside) || able[0];
  const options = able.flatMap((entry) => Object.keys(maps[entry.key]).map((kind) => [`${entry.key} ${kind}`, `${entry.short}: ${kind}`]));
  const kind = Object.keys(maps[first.key]).at(-1);
  const state = { a: beside(first) ? `${first.baselineEntry} prototypes` : `${first.key} prototypes`, b: `${first.key} ${kind}` };
  const panels = [node("div"), node("div")];
  const all = Object.values(maps).flatMap((kinds) => Object.values(kinds)).flat().flatMap((run) => run.points).filter(Boolean);
  const domains = [0, 1].map((axis) => padded(all.map((point) => point[axis]), 0.1));
  const draws = panels.map((panel, index) => keepDrawnLater(panel, (width) => {
    const [key, kind] = state[index ? "b" : "a"].split(" ");
    drawMap(panel, width, entries.get(key), kind, maps[key][kind], domains);
  }, 330));
  controls.replaceChildren(
    selection("Left", options, state.a, (value) => { state.a = value; draws[0].again(); }),
    selection("right", options, state.b, (value) => { state.b = value; draws[1].again(); }),
    node("p", { class: "quiet" }, `Plane: ${view.maps.method}. ${view.shared}`));
  place.replaceChildren(node("div", { class: "side" }, ...panels));
  draws.forEach((drawing) => drawing.start());
}

function drawMap(place, width, entry, kind, runs, [xDomain, yDomain]) {
  const height = Math.max(260, Math.min(420, width * 0.8)), classes = entry.counts.map((_, index) => index);
  const name = (index) => (entry.names && entry.names[index]) || String(index);
  const pointsOf = (index) => runs.map((run) => run.points[index]).filter(Boolean);
  const pairs = (points) => points.flatMap((one, at) => points.slice(at + 1).map((other) => [one, other]));
  const mean = (values) => (values.length ? values.reduce((sum, value) => sum + value, 0) / values.length : null);
  const spread = classes.map((index) => mean(pairs(pointsOf(index)).map(([one, other]) => Math.hypot(one[0] - other[0], one[1] - other[1]))));
  const whole = mean(spread.filter(known));
  const words = `${entry.short}, ${kind}: ${plural(runs.length, "seed")}${known(whole) ? `, mean distance of a class between seeds ${number(whole)}` : ""}`;
  const { root, plot, sx, sy } = frame(width, height, { x: { domain: xDomain, label: "Component 1" }, y: { domain: yDomain, label: "Component 2" }, label: `${words}. Arrow keys read the classes.` });
  const groups = classes.map((index) => {
    const points = pointsOf(index), group = shape("g", {});
    for (const [one, other] of pairs(points)) group.append(shape("line", { x1: sx(one[0]), y1: sy(one[1]), x2: sx(other[0]), y2: sy(other[1]), style: `stroke:${entry.color}`, "stroke-opacity": 0.45 }));
    for (const point of points) group.append(shape("circle", { cx: sx(point[0]), cy: sy(point[1]), r: 4, style: `fill:${entry.color};stroke:var(--ground)` }));
    if (classes.length <= 20 && points.length) group.append(shape("text", { x: sx(points[0][0]) + 6, y: sy(points[0][1]) - 5 }, short(name(index), 14)));
    return group;
  });
  plot.append(...groups);
  let at = -1;
  const read = (index, x, y, aloud) => {
    groups.forEach((group, other) => { group.style.opacity = other === index ? 1 : 0.25; });
    const text = [`${name(index)}, ${plural(entry.counts[index], "training image")}`, known(spread[index]) ? `mean distance between seeds ${number(spread[index])}` : "one seed"];
    tip.show(text, x, y);
    if (aloud) tip.speak(text);
  };
  const leave = () => { groups.forEach((group) => { group.style.opacity = 1; }); tip.hide(); };
  root.addEventListener("pointermove", (event) => {
    const area = root.getBoundingClientRect(), [px, py] = [((event.clientX - area.left) / area.width) * width, ((event.clientY - area.top) / area.height) * height];
    let nearest = -1, least = 900;
    for (const index of classes) for (const point of pointsOf(index)) {
      const distance = (sx(point[0]) - px) ** 2 + (sy(point[1]) - py) ** 2;
      if (distance < least) [nearest, least] = [index, distance];
    }
    if (nearest >= 0) read(nearest, event.clientX, event.clientY, false); else leave();
  });
  root.addEventListener("pointerleave", leave);
  root.addEventListener("blur", leave);
  root.addEventListener("keydown", (event) => {
    const move = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!move) return;
    event.preventDefault();
    at = Math.max(0, Math.min(classes.length - 1, at + move));
    const area = root.getBoundingClientRect(), [point] = pointsOf(at);
    read(at, area.left + (point ? sx(point[0]) / width : 0.5) * area.width, area.top + (point ? sy(point[1]) / height : 0.5) * area.height, true);
  });
  place.replaceChildren(node("p", { class: "quiet" }, words), root);
}
