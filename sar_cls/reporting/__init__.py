"""Records of runs, the ledger over them, the paper's figures, tables and plots.

No module here imports torch, and `suites` needs the standard library alone, so that listing suites and printing tables
start at once. Modules: `suites` (what is run), `record` and `provenance` (what a finished run leaves behind), `ledger`
(all finished runs), `paper` (the published figures), `stats`, `table`, `plots`.
"""
