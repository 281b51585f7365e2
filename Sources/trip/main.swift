print("trip: being built")
