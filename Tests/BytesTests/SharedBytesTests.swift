import Bytes
import Testing

@Suite struct SharedBytesTests {
    @Test func aSliceIsNoCopy() {
        let whole = SharedBytes(Array(0..<100))
        let slice = whole.slice(10..<90).slice(5..<10)
        #expect(slice.count == 5)
        slice.withSpan { bytes in
            var numbers: [UInt8] = []
            for index in bytes.indices { numbers.append(bytes[index]) }
            #expect(numbers == [15, 16, 17, 18, 19])
        }
        let distance = unsafe slice.withUnsafeBytes { slice in
            unsafe whole.withUnsafeBytes {
                unsafe slice.baseAddress.unsafelyUnwrapped - $0.baseAddress.unsafelyUnwrapped
            }
        }
        #expect(distance == 15 && whole.slice(100..<100).count == 0)
    }

    @Test func aSliceKeepsTheWhole() {
        weak var watched: SharedBytes?
        var slice: SharedBytes?
        do {
            let whole = SharedBytes([1, 2, 3])
            watched = whole
            slice = whole.slice(1..<2)
        }
        #expect(watched != nil && slice?.count == 1)
        slice = nil
        #expect(watched == nil)
    }
}
