// RideDomain: being built.
