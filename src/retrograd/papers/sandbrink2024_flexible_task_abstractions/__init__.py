"""Sandbrink, Bauer, Proca, Saxe, Summerfield & Hummos, NeurIPS 2024, arXiv:2411.03840.

Flexible task abstractions emerge in linear networks with fast and bounded units.

Question: can a network segment a stream of tasks on its own, keep each task in a module of
its own, and later switch by moving a few gates instead of overwriting its weights?

Model: y = Σ_p c^p W^p x. Weights W^p and gates c^p descend the same loss, but the gates are
faster (τ_c ≪ τ_w) and are drawn towards non-negative values of unit norm.

Answer: with blocked tasks it reaches a flexible regime: each W^p aligns with one teacher,
the gates become a one-hot code of the task, switches become ever faster. Without fast and
bounded gates it stays forgetful: the students are identical and every switch relearns them.
In the teachers' eigenspace the dynamics reduce to a few variables (exactly, if what the
students hold outside of it is followed too), and the reduction shows a virtuous cycle: fast
gates protect the students, and specialised students speed up the gates.

Where to find it (R1 to R5 and C1 to C23 are of the project's specification):
    teachers, inputs, curriculum       data.targets, data.Covariances, data.curriculum
    gated training                     train.Gated, networks.move_gates
    two-layer linear network           train.TwoLayer
    two tasks on images                images.Backbone, images.GatedReadout
    R1, the effective eigenspace       theory.Reduction
    R2, gates against students         theory.specialisation_at
    R3, a switch of frozen students    theory.frozen_switch
"""
