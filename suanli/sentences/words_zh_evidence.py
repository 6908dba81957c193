"""The Chinese of what is wrong with files that a reader of evidence names: policy, keys, devices, notes, archives."""

ZH_EVIDENCE = {
    # Where
    "a log checkpoint that {origin} signed": "{origin} 签名的日志检查点",
    "policy line {number}: {field}: got {got}, want {want}": "信任策略第 {number} 行 {field}：收到 {got}，应为 {want}",
    "firm keys line {number}: got {got}, want {want}": "企业密钥文件第 {number} 行：收到 {got}，应为 {want}",
    "firm keys line {number}: {field}: got {got}, want {want}": (
        "企业密钥文件第 {number} 行 {field}：收到 {got}，应为 {want}"
    ),
    "device list line {number}: got {got}, want {want}": "设备清单第 {number} 行：收到 {got}，应为 {want}",
    "device list line {number}: {field}: got {got}, want {want}": (
        "设备清单第 {number} 行 {field}：收到 {got}，应为 {want}"
    ),
    # Policies
    "a key of type {kind}": "类型为 {kind} 的密钥",
    "more lines": "更多行",
    "at most {number} logs, witnesses and groups": "最多 {number} 个 log、witness 和 group",
    "at most {number}, the number of members": "最多 {number}，即成员数",
    # Lists of devices
    "no device": "没有设备",
    "a line for each device": "每台设备一行",
    "columns, each once, with one of {names}": "各列只出现一次，且含以下之一：{names}",
    "at most {number}, the number of columns": "最多 {number}，即列数",
    "a time after `from`": "晚于 `from` 的时间",
    "no name": "没有名称",
    "a NUL character": "NUL 字符",
    "whole watts, more than 0": "大于 0 的整数瓦",
    "bytes that are not UTF-8": "不是 UTF-8 的字节",
    "CSV in UTF-8": "UTF-8 的 CSV",
    "a line of CSV": "一行 CSV",
    "a date like 2026-01-31, or a time with its zone like 2026-01-31T08:00+08:00": (
        "日期，例如 2026-01-31，或带时区的时间，例如 2026-01-31T08:00+08:00"
    ),
    # Keys and notes
    "printable ASCII without blanks": "不含空格的可打印 ASCII",
    "a name that no other algorithm has": "其他算法未使用的名称",
    "a key name in UTF-8 without spaces, control characters or +": "UTF-8 的密钥名称，不含空格、控制字符和 +",
    "an Ed25519 public key of 32 bytes": "32 字节的 Ed25519 公钥",
    "a type byte and a key": "一个类型字节和密钥",
    "an ML-DSA-44 key of {number} bytes": "{number} 字节的 ML-DSA-44 公钥",
    "a key of {algorithm}": "{algorithm} 的密钥",
    "0x1 (Ed25519), 0x4 (Ed25519 cosignature), 0x6 (ML-DSA-44 cosignature) or 0xff (another)": (
        "0x1（Ed25519）、0x4（Ed25519 联署）、0x6（ML-DSA-44 联署）或 0xff（其他）"
    ),
    "no control character but newline": "换行符以外没有控制字符",
    "no blank line": "没有空行",
    "text, a blank line, signatures": "正文、空行、签名",
    "a newline at the end": "末尾有换行符",
    "a line that begins with an em dash and a space": "以长破折号和空格开头的行",
    "4 bytes of key hash and a signature": "4 字节密钥哈希和签名",
    "signatures of {names}": "{names} 的签名",
    "a signature of a known key": "已知密钥的签名",
    "text that survives a note": "可写入 note 的正文",
    "a false signature of {name}": "{name} 的伪签名",
    "a valid signature": "有效的签名",
    "three or more lines, none empty": "三行或更多，没有空行",
    "a decimal number without leading zeroes": "没有前导零的十进制数",
    "a tree head that can be read back": "可原样读回的树头",
    "a log of the policy": "信任策略中的日志",
    "the policy's quorum, {name}": "信任策略的法定见证者 {name}",
    # Receipts
    "no match": "不匹配",
    "at least start_ms {number}": "不小于 start_ms {number}",
    "a signature of the key over firm and key": "该密钥对企业和密钥的签名",
    "a reason": "一个原因",
    "no reason, since it is not contested": "不填写原因，因为并未提出异议",
    # Time stamps and archives
    "no reader of time stamps": "没有读取时间戳的程序包",
    "certificates in PEM": "PEM 格式的证书",
    "a stamp of the reader's authority over this file": "读者所信任的机构对该文件的时间戳",
    "more than {number} files": "多于 {number} 个文件",
    "{number} bytes unpacked": "解压后 {number} 字节",
    "a file without a name": "没有名称的文件",
    "plain relative names with slashes": "以斜杠分隔的普通相对名称",
    "{number} bytes in an archive of {size}": "{size} 的压缩包中有 {number} 字节",
    "{path} of another size": "{path} 大小不同",
    "each name once, whatever its case": "每个名称只出现一次，不分大小写",
    "stored or deflated files without encryption": "未加密的、存储或 deflate 压缩的文件",
}
