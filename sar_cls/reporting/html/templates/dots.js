/* Differences to the baseline as dots with their intervals, and the paper's difference as a diamond. */
function drawDots(figure, view) {
  const place = figure.querySelector(".chart"), lines = view.entries.filter((entry) => entry.delta);
  const has = { gain: lines.some((line) => known(line.gain)) };
  figure.querySelector(".controls").replaceChildren(node("span", { class: "quiet" },
    `● mean, bar: 95 % interval${has.gain ? "; ◇ the paper's difference" : ""}; hollow dot: one pair, no interval. ${view.shared}`));
  const about = (line) => [line.short, `against ${line.baselineLabel}`, `${signed(line.delta.mean)} points` + (known(line.delta.low) ? `, [${signed(line.delta.low)}, ${signed(line.delta.high)}]` : ""),
    plural(line.delta.n, "pair"), ...(known(line.gain) ? [`paper: ${signed(line.gain)}`] : []), ...(line.changed ? [`another recipe: ${line.changed}`] : [])];
  keepDrawn(place, (width) => {
    const wide = width >= 640, longest = Math.max(...lines.map((line) => line.short.length)), names = wide ? Math.min(24 + 6.8 * longest, width * 0.38) : 12, step = wide ? 30 : 46;
    const height = 56 + step * lines.length;
    const values = lines.flatMap((line) => [line.delta.mean, line.delta.low, line.delta.high, line.gain, 0]).filter(known);
    const { root, plot, sx, box } = frame(width, height, { left: names, x: { domain: padded(values, 1), label: `Difference to the baseline, ${view.metricLabel} (points)` },
      y: { domain: [0, 1], ticks: [] }, label: `Differences to the baseline: ${lines.map((line) => about(line).join(", ")).join("; ")}` });
    plot.append(shape("line", { class: "axis", x1: sx(0), x2: sx(0), y1: box.top, y2: height - box.bottom, "stroke-width": 1.5 }));
    let at = -1;
    const centres = lines.map((line, index) => box.top + step * (index + (wide ? 0.5 : 0.68)));
    lines.forEach((line, index) => {
      const middle = centres[index], { mean, low, high } = line.delta, style = `stroke:${line.color}`;
      const label = shape("text", wide ? { x: names - 10, y: middle + 4, "text-anchor": "end" } : { x: names, y: middle - 14 }, short(line.short, wide ? Math.floor(names / 7.2) : Math.floor(width / 6.6)));
      label.append(shape("title", {}, line.name));
      plot.append(label);
      if (known(low)) plot.append(shape("line", { x1: sx(low), x2: sx(high), y1: middle, y2: middle, style, "stroke-width": 3 }));
      plot.append(shape("circle", { cx: sx(mean), cy: middle, r: 5, style: `${style};fill:${known(low) ? line.color : "var(--ground)"}`, "stroke-width": 2 }));
      if (known(line.gain)) plot.append(shape("path", { d: `M${sx(line.gain)} ${middle - 7}l6 7l-6 7l-6 -7Z`, style: "fill:var(--ground);stroke:var(--ink)", "stroke-width": 1.5 }));
    });
    const read = (index, x, y, aloud) => { at = Math.max(0, Math.min(lines.length - 1, index)); tip.show(about(lines[at]), x, y); if (aloud) tip.speak(about(lines[at])); };
    root.addEventListener("pointermove", (event) => {
      const area = root.getBoundingClientRect(), y = ((event.clientY - area.top) / area.height) * height;
      read(Math.floor((y - box.top) / step), event.clientX, event.clientY, false);
    });
    root.addEventListener("pointerleave", () => tip.hide());
    root.addEventListener("blur", () => tip.hide());
    root.addEventListener("keydown", (event) => {
      const move = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      if (!move) return;
      event.preventDefault();
      const area = root.getBoundingClientRect(), next = Math.max(0, Math.min(lines.length - 1, at + move));
      read(next, area.left + area.width / 2, area.top + (centres[next] / height) * area.height, true);
    });
    place.replaceChildren(root);
  });
  numbersBelow(figure.querySelector(".numbers"), "The numbers of this figure", () => plainTable("Differences to the baseline",
    ["Row", "Baseline", "Mean", "Low", "High", "Pairs", "Paper"], lines.map((line) => [line.name, line.baselineLabel, [signed(line.delta.mean), line.delta.mean],
      [signed(line.delta.low), line.delta.low], [signed(line.delta.high), line.delta.high], [String(line.delta.n), line.delta.n], [signed(line.gain), line.gain]])));
}
