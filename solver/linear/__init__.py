"""The linear algebra of one scalar field: its symmetric operator, exact transforms, multigrid, conjugate gradients."""
