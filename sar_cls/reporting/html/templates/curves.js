/* Curves over epochs, or iterations, for the training and for what the regularizers say of themselves: a choice of stage, column and rows. */
function drawCurves(figure, view, titles) {
  const columns = (entry) => Object.keys(titles).filter((name) => entry.curves && entry.curves[name]);
  const all = view.entries.filter((entry) => columns(entry).length);
  const stages = [...new Set(all.map((entry) => entry.stage))].sort();
  const controls = figure.querySelector(".controls"), place = figure.querySelector(".chart");
  const state = { stage: stages[0], column: null, chosen: null, from: "0" };
  let drawing = null;
  const shown = () => all.filter((entry) => entry.stage === state.stage);
  const unitOf = () => shown()[0].curves.unit, heading = () => (unitOf() === "epoch" ? "Epoch" : "Iteration");
  const lines = () => shown().filter((entry, index) => state.chosen.has(index) && entry.curves[state.column]).map((entry) => {
    const curve = entry.curves[state.column];
    const start = Math.floor(entry.curves.at.length * Number(state.from)), part = (values) => values && values.slice(start);
    return { name: entry.short, color: entry.color, dash: entry.dash, x: part(entry.curves.at), y: part(curve.mean), low: part(curve.low), high: part(curve.high) };
  });
  const draw = (width) => {
    const [title, unit] = titles[state.column], drawn = lines();
    lineChart(place, width, drawn, { xLabel: heading(), yLabel: title + (unit ? ` (${unit})` : ""), unit, whole: true,
      yDomain: titles === DATA.readings ? [0, 100] : null,
      label: `${title} over ${unitOf()}s. At the last ${unitOf()}: ${drawn.map((line) => `${line.name} ${number(line.y.at(-1))}${unit}`).join(", ")}. Arrow keys read the ${unitOf()}s.` });
  };
  const setUp = () => {
    const names = Object.keys(titles).filter((name) => shown().some((entry) => entry.curves[name]));
    if (!names.includes(state.column)) state.column = names[0];
    if (!state.chosen) {
      const plain = shown().map((entry, index) => index).filter((index) => !shown()[index].optional);
      state.chosen = new Set((plain.length ? plain : shown().map((_, index) => index)).slice(0, 7));
    }
    controls.replaceChildren(
      ...(stages.length > 1 ? [selection("Stage", stages.map((stage) => [String(stage), String(stage)]), String(state.stage), (value) => { state.stage = Number(value); state.chosen = null; setUp(); })] : []),
      selection("Curve", names.map((name) => [name, titles[name][0]]), state.column, (value) => { state.column = value; setUp(); }),
      selection(`${heading()}s`, [["0", "all"], ["0.5", "second half"], ["0.8", "last fifth"]], state.from, (value) => { state.from = value; setUp(); }),
      rowChoice(shown(), state.chosen, () => drawing.again()),
      ...(view.shared ? [node("p", { class: "quiet" }, view.shared)] : []));
    if (drawing) drawing.again();
    const details = figure.querySelector(".numbers details");
    if (details) details.open = false;
  };
  setUp();
  drawing = keepDrawn(place, draw);
  numbersBelow(figure.querySelector(".numbers"), "The numbers of this figure, as it is chosen", () => {
    const drawn = lines(), places = [...new Set(drawn.flatMap((line) => line.x))].sort((a, b) => a - b);
    return plainTable(titles[state.column][0], [heading(), ...drawn.map((line) => line.name)], places.map((place) => [[String(place), place],
      ...drawn.map((line) => { const value = line.y[line.x.indexOf(place)]; return [number(value), value]; })]));
  });
}
