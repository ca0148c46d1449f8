// What hosts/swift/Host.swift uses of Core ML, for machines without it: the same names and types, and a model whose
// answers are sums. Every slot of both caches is in the sum that `decode` gives, so that a key or value which is missing,
// doubled or in a wrong slot changes the answer (tests/flow/test_deliver.py has the same sums in Python).

import Foundation

public enum MLMultiArrayDataType { case int32, float16, float32, double }

public final class MLMultiArray {
    public let shape: [NSNumber]
    public let dataType: MLMultiArrayDataType
    public let count: Int
    private var values: [Double]

    public init(shape: [NSNumber], dataType: MLMultiArrayDataType) throws {
        self.shape = shape
        self.dataType = dataType
        count = shape.reduce(1) { $0 * $1.intValue }
        // memory of Core ML is not zero either
        values = Array(repeating: 7, count: count)
    }

    public subscript(index: Int) -> NSNumber {
        get { NSNumber(value: values[index]) }
        set { values[index] = newValue.doubleValue }
    }

    public subscript(key: [NSNumber]) -> NSNumber {
        get { self[place(key)] }
        set { self[place(key)] = newValue }
    }

    private func place(_ key: [NSNumber]) -> Int {
        precondition(key.count == shape.count)
        return zip(key, shape).reduce(0) { found, pair in
            precondition((0..<pair.1.intValue).contains(pair.0.intValue))
            return found * pair.1.intValue + pair.0.intValue
        }
    }
}

public final class MLFeatureValue {
    public let multiArrayValue: MLMultiArray?
    init(_ array: MLMultiArray?) { multiArrayValue = array }
}

public protocol MLFeatureProvider {
    var featureNames: Set<String> { get }
    func featureValue(for featureName: String) -> MLFeatureValue?
}

public final class MLDictionaryFeatureProvider: MLFeatureProvider {
    private let values: [String: Any]
    public init(dictionary: [String: Any]) throws { values = dictionary }
    public var featureNames: Set<String> { Set(values.keys) }
    public func featureValue(for featureName: String) -> MLFeatureValue? {
        values[featureName].map { MLFeatureValue($0 as? MLMultiArray) }
    }
}

/// What a model keeps between calls: arrays of zeros by the names of the contract's states.
public final class MLState {
    fileprivate var buffers: [String: MLMultiArray] = [:]
}

public enum MLComputeUnits { case cpuOnly, cpuAndGPU, all, cpuAndNeuralEngine }

public final class MLModelConfiguration {
    public var functionName: String?
    public var computeUnits: MLComputeUnits = .all
    public init() {}
}

public final class MLModel {
    private let function: [String: Any]
    private let cache: [String: Int]

    public static func compileModel(at modelURL: URL) throws -> URL {
        precondition(FileManager.default.fileExists(atPath: modelURL.appendingPathComponent("Manifest.json").path))
        return modelURL
    }

    public init(contentsOf url: URL, configuration: MLModelConfiguration) throws {
        let folder = url.deletingLastPathComponent().deletingLastPathComponent()
        let text = try Data(contentsOf: folder.appendingPathComponent("contract.json"))
        let contract = try JSONSerialization.jsonObject(with: text) as! [String: Any]
        function = (contract["functions"] as! [String: Any])[configuration.functionName!] as! [String: Any]
        cache = (contract["kv_cache"] as! [String: Any]).compactMapValues { $0 as? Int }
    }

    /// Inputs must have the names, shapes and types that the contract declares.
    private func taken(_ input: MLFeatureProvider) -> [String: MLMultiArray] {
        let types: [String: MLMultiArrayDataType] = ["int32": .int32, "float16": .float16, "float32": .float32]
        var found: [String: MLMultiArray] = [:]
        for declared in function["inputs"] as! [[String: Any]] {
            let name = declared["name"] as! String
            let array = input.featureValue(for: name)!.multiArrayValue!
            precondition(array.shape.map(\.intValue) == declared["shape"] as! [Int], name)
            precondition(array.dataType == types[declared["dtype"] as! String]!, name)
            found[name] = array
        }
        precondition(Set(found.keys) == input.featureNames)
        return found
    }

    private var states: [[String: Any]] { function["states"] as! [[String: Any]] }

    public func makeState() -> MLState {
        let made = MLState()
        for declared in states {
            let shape = (declared["shape"] as! [Int]).map { NSNumber(value: $0) }
            let array = try! MLMultiArray(shape: shape, dataType: .float16)
            for index in 0..<array.count { array[index] = 0 }
            made.buffers[declared["name"] as! String] = array
        }
        return made
    }

    public func prediction(from input: MLFeatureProvider) throws -> MLFeatureProvider {
        precondition(states.isEmpty, "a model with states is asked with one")
        return try predicted(input, [:])
    }

    public func prediction(from input: MLFeatureProvider, using state: MLState) throws -> MLFeatureProvider {
        precondition(Set(state.buffers.keys) == Set(states.map { $0["name"] as! String }))
        return try predicted(input, state.buffers)
    }

    private func predicted(_ input: MLFeatureProvider, _ buffers: [String: MLMultiArray]) throws -> MLFeatureProvider {
        let given = taken(input).merging(buffers) { _, kept in kept }
        let ids = given["input_ids"]!
        var out: [String: MLMultiArray] = [:]
        for declared in function["outputs"] as! [[String: Any]] {
            let shape = (declared["shape"] as! [Int]).map { NSNumber(value: $0) }
            let array = try MLMultiArray(shape: shape, dataType: .float16)
            for index in 0..<array.count { array[index] = 0 }
            out[declared["name"] as! String] = array
        }
        let logits = out["logits"]!
        let width = logits.shape[2].intValue
        func choose(_ sum: Int, at position: Int) {
            logits[[0, NSNumber(value: position), NSNumber(value: sum % width)]] = 1
        }
        let length = ids.count
        let new = [cache["layers"]!, cache["heads"]!, length, cache["head_dim"]!].map { NSNumber(value: $0) }
        let keys = try out["keys"] ?? out["new_key"] ?? MLMultiArray(shape: new, dataType: .float16)
        let values = try out["values"] ?? out["new_value"] ?? MLMultiArray(shape: new, dataType: .float16)
        for layer in 0..<cache["layers"]! {
            for head in 0..<cache["heads"]! {
                for token in 0..<length {
                    for part in 0..<cache["head_dim"]! {
                        let key = [layer, head, token, part].map { NSNumber(value: $0) }
                        let value = ids[token].intValue + layer + 2 * head + 3 * part
                        keys[key] = NSNumber(value: value)
                        values[key] = NSNumber(value: 2 * value)
                    }
                }
            }
        }
        if let mask = given["attention_mask"] {
            var sum = 0
            for token in 0..<length {
                sum += mask[token].intValue * ids[token].intValue * (token + 1)
                choose(sum, at: token)
            }
        } else {
            var sum = ids[0].intValue + given["position"]![0].intValue
            let (keyCache, valueCache) = (given["key_cache"]!, given["value_cache"]!)
            let slots = cache["context"]!, row = cache["head_dim"]!
            for index in 0..<keyCache.count {
                let slot = (index / row) % slots
                // padding that a prefill left in a state; a host leaves zeros there
                if !buffers.isEmpty, slot >= given["position"]![0].intValue { continue }
                sum += (slot + 1) * (keyCache[index].intValue + valueCache[index].intValue)
            }
            choose(sum, at: 0)
        }
        // a state is written by the model, after it was read
        let first = given["position"]?[0].intValue ?? 0
        for (name, rows) in [("key_cache", keys), ("value_cache", values)] {
            guard let buffer = buffers[name] else { continue }
            for layer in 0..<cache["layers"]! {
                for head in 0..<cache["heads"]! {
                    for token in 0..<length {
                        for part in 0..<cache["head_dim"]! {
                            let to = [layer, head, first + token, part].map { NSNumber(value: $0) }
                            buffer[to] = rows[[layer, head, token, part].map { NSNumber(value: $0) }]
                        }
                    }
                }
            }
        }
        return try MLDictionaryFeatureProvider(dictionary: out)
    }
}
