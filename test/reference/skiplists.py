"""What the skip lists of diffusers' backends keep, by each tool's own rule, on module trees built from lists of linear layers.

Input: {"models": [{"name", "class", "linears": [[path, count, out, in], ...]}], "entries": [...]}; `{i}` in a path stands for 0 to count - 1.
Output: {model: {backend: {entry: [kept layers, their weights, hash of their names]}}}, and "total": the weights of all layers.

Each backend walks the module tree as the tool walks it: module by module for bitsandbytes and quanto, parameter by parameter for torchao,
quantizer by quantizer (fnmatch) for ModelOpt; SDNQ compares the names of parameters with its own mixture of rules (re).
"""
import fnmatch
import hashlib
import json
import re
import sys


class Module:
    def __init__(self):
        self.children = {}
        self.weight = None  # number of weights of a linear layer

    def named_modules(self, prefix=""):
        yield prefix, self
        for name, child in self.children.items():
            yield from child.named_modules(f"{prefix}.{name}" if prefix else name)


def build(linears):
    root = Module()
    for path, count, out_features, in_features in linears:
        for i in range(count):
            at = root
            for name in path.replace("{i}", str(i)).split("."):
                at = at.children.setdefault(name, Module())
            at.weight = out_features * in_features
    return root


def bitsandbytes(root, entry):
    kept = []

    def walk(module, path):
        for name, child in module.children.items():
            here = path + [name]
            if child.weight is not None:
                dotted = ".".join(here)
                if name in [entry] or any(key + "." in dotted or key == dotted for key in [entry]):
                    kept.append((dotted, child.weight))
            walk(child, here)

    walk(root, [])
    return kept


def torchao(root, entry):
    kept = []
    for path, module in root.named_modules():
        if module.weight is not None:
            parameter = path + ".weight"
            if entry + "." in parameter or entry == parameter:
                kept.append((path, module.weight))
    return kept


def quanto(root, entry):
    kept = []

    def walk(module, path):
        for name, child in module.children.items():
            walk(child, path + [name])  # children first: a skipped container's layers are converted already
            if name == entry:
                if child.weight is not None:
                    kept.append((".".join(path + [name]), child.weight))
                continue

    walk(root, [])
    return kept


def modelopt(root, entry):
    glob = "*" + entry + "*"
    return [(path, module.weight) for path, module in root.named_modules() if module.weight is not None and fnmatch.fnmatchcase(path + ".weight_quantizer", glob)]


def sdnq(root, entry):
    def matches(parameter):
        if entry.startswith("."):
            return parameter.startswith(entry[1:])
        return parameter == entry or entry in parameter.split(".") or ("*" in entry and re.match(entry.replace(".*", "\\.*").replace("*", ".*"), parameter) is not None)

    return [(path, module.weight) for path, module in root.named_modules() if module.weight is not None and matches(path + ".weight")]


BACKENDS = {"diffusers-bitsandbytes": bitsandbytes, "diffusers-torchao": torchao, "diffusers-quanto": quanto, "diffusers-modelopt": modelopt, "diffusers-sdnq": sdnq}


def summary(kept):
    names = "\n".join(sorted(name for name, _ in kept))
    return [len(kept), sum(weights for _, weights in kept), hashlib.sha256(names.encode()).hexdigest()]


def main():
    request = json.load(sys.stdin)
    result = {}
    for model in request["models"]:
        root = build(model["linears"])
        result[model["name"]] = {name: {entry: summary(rule(root, entry)) for entry in request["entries"][model["name"]]} for name, rule in BACKENDS.items()}
        result[model["name"]]["total"] = sum(module.weight for _, module in root.named_modules() if module.weight is not None)
    json.dump(result, sys.stdout)


main()
