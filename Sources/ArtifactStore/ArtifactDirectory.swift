import Encodings
