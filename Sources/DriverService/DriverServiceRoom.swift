// DriverService: being built.
