"""Rebuilds the figures, and checks the claims, of papers on learning dynamics.

The library under the Snakemake graph: `config` says what is asked, `graph` answers the
rules, `jobs` carries out one job, `products` and `plotting` own the files, `claims` the
verdicts, and `papers` holds the science, one folder per paper.
"""
