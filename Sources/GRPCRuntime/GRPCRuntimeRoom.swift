// GRPCRuntime: being built.
