"""Records of runs, the ledger over them, the paper's figures, tables and plots.

No module here imports torch before it needs it, and `suites` and `record` need the standard library alone, so that listing
suites and printing tables start at once. What is run: `suites`. What a finished run leaves behind: `record`, `provenance`,
`outputs`. What is made of all of them: `ledger`, `recipe` (which runs belong together), `stats`, `paper` (the published
figures), `comparison`, `tables` and `figures` (`figures.gallery` draws them all).
"""
