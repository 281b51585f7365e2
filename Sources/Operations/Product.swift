/// What the libraries, which belong to no product, have to be told about this one.
public enum Product {
    /// Stands before the names of metrics that are the house's own: `cabstand_kafka_up`.
    public static let metricNamespace = "cabstand"
    /// Stands before a problem's code in its type: `urn:cabstand:problem:not-found`.
    public static let problemTypes = "urn:cabstand:problem:"
}
