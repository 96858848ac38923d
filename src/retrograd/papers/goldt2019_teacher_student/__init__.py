"""Goldt, Advani, Saxe, Krzakala & Zdeborová, NeurIPS 2019, arXiv:1906.08632.

Dynamics of stochastic gradient descent for two-layer neural networks in the
teacher-student setup.

Question: a two-layer student of K units learns by one-pass SGD from a two-layer teacher
of M units, Gaussian inputs, label noise σ. How does its generalisation error eg evolve,
and what does over-parameterisation (K > M) do to the final error?

Answer: for N → ∞ SGD is described exactly by closed ODEs for the overlaps Q, R and the
second layer v. With only the first layer trained (the soft committee machine) the final
error grows linearly with K − M; with both layers trained it stays constant (linear, ReLU)
or falls (erf, at best as 1/K), because the student finds solutions of another kind.

Where to find it:
    SGD, eq. (4)                      train.Ensemble
    order parameters, eq. (5)         data.overlaps
    eg of the overlaps, eq. (6)       retrograd.gaussian.committee_error
    ODEs for R, Q, v, eqs. (8)-(10)   theory.Committee.velocity
    final errors F1 to F8             theory.first_order and the functions beside it
"""
