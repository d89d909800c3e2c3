/* Draws the figures, and sees to theme and paper. */
const painters = {
  dots: drawDots,
  training: (figure, view) => drawCurves(figure, view, DATA.training),
  readings: (figure, view) => drawCurves(figure, view, DATA.readings),
  classes: drawClasses,
  maps: drawMaps,
};
const viewOf = new Map(DATA.views.map((view) => [view.key, view]));
for (const figure of document.querySelectorAll("figure[data-figure]")) painters[figure.dataset.figure](figure, viewOf.get(figure.dataset.view));

function repaintMaps() { document.querySelectorAll("canvas").forEach((canvas) => { const owner = canvas.closest(".side").parentElement; if (owner.repaint) owner.repaint(); }); }
const theme = document.getElementById("theme"), THEMES = ["", "light", "dark"];
function setTheme(name) {
  if (name) document.documentElement.dataset.theme = name; else delete document.documentElement.dataset.theme;
  theme.textContent = `Theme: ${name || "as the system"}`;
  repaintMaps();
}
theme.hidden = false;
theme.addEventListener("click", () => {
  const next = THEMES[(THEMES.indexOf(document.documentElement.dataset.theme || "") + 1) % THEMES.length];
  setTheme(next);
  try { localStorage.setItem("sar-cls-theme", next); } catch { /* a file from disk may keep nothing */ }
});
try { setTheme(localStorage.getItem("sar-cls-theme") || ""); } catch { setTheme(""); }
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaintMaps);

/* Paper has a width of its own, and shows what the answer's folded parts hold. */
let folded = [];
addEventListener("beforeprint", () => {
  printing = true;
  folded = [...document.querySelectorAll("#answer details:not([open]), details.more:not([open])")];
  folded.forEach((details) => { details.open = true; });
  drawings.forEach((drawing) => drawing.now(drawing.paper));
  repaintMaps();
});
addEventListener("afterprint", () => {
  printing = false;
  folded.forEach((details) => { details.open = false; });
  drawings.forEach((drawing) => drawing.now());
  repaintMaps();
});
document.documentElement.dataset.ready = "";
