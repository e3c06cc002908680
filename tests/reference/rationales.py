"""Agreement with human rationales the slow way, with sets of tokens (DeYoung et al. 2020, section 4.1)."""


def spans(tokens):
    """Sets of neighbouring tokens, in order."""
    made = []
    for token in sorted(tokens):
        if made and token - 1 in made[-1]:
            made[-1].add(token)
        else:
            made.append({token})
    return made


def top(scores, k):
    """The k places with the highest scores, the earlier of equals first."""
    return set(sorted(range(len(scores)), key=lambda i: (-scores[i], i))[:k])


def token_f1(chosen, marked):
    """F1 of two sets of tokens."""
    both = len(chosen & marked)
    precision, recall = both / len(chosen), both / len(marked)
    return 2 * precision * recall / (precision + recall) if both else 0.0


def iou_f1(examples, overlap):
    """F1 of average precision and average recall of spans; `examples` are (chosen spans, marked spans)."""
    precisions, recalls = [], []
    for chosen, marked in examples:
        hits = [p for p in chosen if any(len(p & t) / len(p | t) >= overlap for t in marked)]
        covered = [t for t in marked if any(len(p & t) / len(p | t) >= overlap for p in chosen)]
        precisions.append(len(hits) / len(chosen))
        recalls.append(len(covered) / len(marked))
    p, r = sum(precisions) / len(precisions), sum(recalls) / len(recalls)
    return 2 * p * r / (p + r) if p + r else 0.0
