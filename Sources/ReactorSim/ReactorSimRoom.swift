// ReactorSim: being built.
