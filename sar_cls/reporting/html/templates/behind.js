/* What stands behind a cell: seeds, configs, commits, data, devices and commands of its runs. */
const dialog = document.getElementById("behind");
const provenance = (record) => [
  record.config_hash,
  record.git.commit ? record.git.commit.slice(0, 10) + (record.git.dirty ? " with changes" : "") : "not known",
  Object.entries(record.data_fingerprint).map(([split, hash]) => `${split} ${hash.slice(0, 8)}`).join(", "),
  `${record.machine.accelerator || record.machine.cpu || record.device}, ${record.precision}` + (record.device === "cpu" && record.machine.threads ? `, ${plural(record.machine.threads, "thread")}` : ""),
  record.versions.torch || "–",
];
const PROVENANCE = ["Config", "Commit", "Data", "Device", "torch"];
const epochsOf = (record) => `${record.epochs}` + (record.epochs === record.epochs_recipe ? "" : ` of ${record.epochs_recipe}`);
const metricName = (metric) => DATA.metricNames[metric] || metric;

function recordDetails(record) {
  return node("details", {}, node("summary", {}, `Seed ${record.seed}: whole record and command`),
    node("p", {}, "To make it again: ", node("code", {}, DATA.commands[record.run_id] || "not known")),
    node("pre", { tabindex: 0 }, JSON.stringify(record, null, 1)));
}

const openers = {
  value({ entry, epoch, metric }) {
    const line = entries.get(entry), records = line.runs.map((id) => DATA.records[id]);
    const rows = records.map((record) => {
      const value = record.metrics[epoch][metric];
      return [[String(record.seed), record.seed], [number(value, 4), value], [epoch === "best" ? `${record.best_epoch} (best on ${record.best_on})` : epochsOf(record), record.epochs],
        ...provenance(record)];
    });
    return [`${line.name}: ${metricName(metric)}, ${epoch} epoch`,
      line.details.length ? node("p", {}, node("span", { class: "badge" }, line.changed ? `another recipe: ${line.changed}` : line.details.join(", "))) : null,
      plainTable("The runs", ["Seed", metricName(metric), epoch === "best" ? "Epoch" : "Epochs", ...PROVENANCE], rows), ...records.map(recordDetails)];
  },
  difference({ entry, metric }) {
    const line = entries.get(entry), ours = line.runs.map((id) => DATA.records[id]);
    const theirs = new Map((line.baseline || []).map((id) => [DATA.records[id].seed, DATA.records[id]]));
    const rows = ours.filter((record) => theirs.has(record.seed)).map((record) => {
      const other = theirs.get(record.seed), [a, b] = [record.metrics.last[metric], other.metrics.last[metric]];
      const difference = known(a) && known(b) ? a - b : null;
      return [[String(record.seed), record.seed], [number(a, 4), a], [number(b, 4), b], [signed(difference, 4), difference]];
    });
    const { mean, low, high, n } = line.delta;
    const words = known(low)
      ? `Mean ${signed(mean)} over ${n} pairs; 95 % interval [${signed(low)}, ${signed(high)}] by Student's t with ${n - 1} degrees of freedom. ` +
        (low <= 0 && 0 <= high ? "It holds 0: the difference cannot be told from chance." : "It leaves 0 out.")
      : `One pair: ${signed(mean)}. With one seed nothing can be said about chance.`;
    return [`${line.name} against ${line.baselineLabel}: ${metricName(metric)}`, node("p", {}, words),
      plainTable("Pairs of runs with the same seed", ["Seed", "This row", line.baselineLabel, "Difference"], rows),
      plainTable("Where they come from", ["Run", "Epochs", ...PROVENANCE],
        [...ours, ...theirs.values()].map((record) => [`${record.row}, seed ${record.seed}`, [epochsOf(record), record.epochs], ...provenance(record)])),
      ...ours.map(recordDetails)];
  },
  paper({ source }) { return ["A published figure", node("p", {}, source)]; },
  run({ entry }) {
    const record = DATA.records[entry];
    const details = recordDetails(record);
    details.open = true;
    return [`${record.suite}/${record.row}, seed ${record.seed}`,
      plainTable("Where it comes from", ["Seed", "Epochs", ...PROVENANCE], [[[String(record.seed), record.seed], [epochsOf(record), record.epochs], ...provenance(record)]]), details];
  },
};

document.addEventListener("click", (event) => {
  const button = event.target.closest("button.cell");
  if (!button) return;
  const [title, ...parts] = openers[button.dataset.opens](button.dataset);
  document.getElementById("behind-title").textContent = title;
  document.getElementById("behind-body").replaceChildren(...parts.filter(Boolean));
  dialog.showModal();
  dialog.scrollTop = 0;
  document.getElementById("behind-title").focus();
});
document.getElementById("behind-close").addEventListener("click", () => dialog.close());
dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
