/// A simulated kernel for the event loop.
public enum ReactorSim {}
