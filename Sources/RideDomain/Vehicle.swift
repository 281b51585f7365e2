/// The car, as the rider looks for it.
public struct Vehicle: Hashable, Sendable {
    public var make: String
    public var model: String
    public var color: String
    public var plate: String
    public var category: String

    public init(make: String, model: String, color: String, plate: String, category: String) {
        self.make = make
        self.model = model
        self.color = color
        self.plate = plate
        self.category = category
    }
}
