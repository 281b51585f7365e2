// TripService: being built.
