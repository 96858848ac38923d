"""van Rossem & Saxe, ICML 2024 (PMLR 235), arXiv:2402.09142.

When Representations Align: Universality in Representation Learning Dynamics.

Question: deep networks of different architectures learn similar representations. Which
part of the dynamics of hidden representations does not depend on the architecture, and
can it be predicted without modelling the architecture?

Answer: write a network as an encoder x → h and a decoder h → y. For two inputs whose
representations are close, gradient descent on the linearised maps closes in three
numbers: the squared distances |dh|², |dŷ|² and w = dŷ·(dŷ − dy). All of the architecture
is in two effective rates. From small initial weights the final distance is set by the
task, |dx| |dy| (rich); from large ones by the initial distance (lazy).

Where to find it:
    networks, hand-written gradients      networks.Dense, networks.Convolutional
    gradient descent, what is recorded    train.Descent, train.PairObserver
    the ODE for |dh|², |dŷ|², w           effective.velocity
    its invariant, loss, final distance   effective.invariant, .loss, .final_distance
    the exact system for general D_y      effective.exact_velocity
    rates fitted to a trajectory          theory.fits (retrograd.trajectory_fits)
    many points: XOR, classes             theory.xor, theory.digits
"""
