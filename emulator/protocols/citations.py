"""The papers of the protocols, for ``citations.bib``. A test holds that the catalogue has no protocol without an entry.

Bibliographic facts as each protocol's own file cites them; where an author list is cut short, it ends in ``others``.
"""

from typing import NamedTuple


class Paper(NamedTuple):
    """A paper: BibTeX key, kind of entry, authors, title, where it appeared, year, and arXiv number or DOI, if known."""

    key: str
    kind: str
    author: str
    title: str
    where: str
    year: int
    arxiv: str = ""
    doi: str = ""


_CONFERENCE, _JOURNAL, _PREPRINT = "inproceedings", "article", "misc"

PAPERS: dict[str, Paper] = {
    "fedavg": Paper(
        "mcmahan2017fedavg", _CONFERENCE,
        "McMahan, H. Brendan and Moore, Eider and Ramage, Daniel and Hampson, Seth and Ag{\\\"u}era y Arcas, Blaise",
        "Communication-Efficient Learning of Deep Networks from Decentralized Data", "AISTATS", 2017, "1602.05629",
    ),
    "fedprox": Paper(
        "li2020fedprox", _CONFERENCE,
        "Li, Tian and Sahu, Anit Kumar and Zaheer, Manzil and Sanjabi, Maziar and Talwalkar, Ameet and Smith, Virginia",
        "Federated Optimization in Heterogeneous Networks", "MLSys", 2020, "1812.06127",
    ),
    "scaffold": Paper(
        "karimireddy2020scaffold", _CONFERENCE, "Karimireddy, Sai Praneeth and others",
        "SCAFFOLD: Stochastic Controlled Averaging for Federated Learning", "ICML", 2020, "1910.06378",
    ),
    "fednova": Paper(
        "wang2020fednova", _CONFERENCE,
        "Wang, Jianyu and Liu, Qinghua and Liang, Hao and Joshi, Gauri and Poor, H. Vincent",
        "Tackling the Objective Inconsistency Problem in Heterogeneous Federated Optimization", "NeurIPS", 2020, "2007.07481",
    ),
    "adp_upload": Paper(
        "yu2023adp", _CONFERENCE, "Yu, Sixing and others", "Adaptive Dynamic Pruning for Non-IID Federated Learning",
        "IEEE/ACM CCGrid", 2023, "2106.06921", "10.1109/CCGrid57682.2023.00038",
    ),
    "fedadam": Paper(
        "reddi2021fedopt", _CONFERENCE, "Reddi, Sashank J. and others", "Adaptive Federated Optimization", "ICLR", 2021,
        "2003.00295",
    ),
    "tinyfel": Paper(
        "chen2025tinyfel", _JOURNAL, "Chen, Q. and Cheng, H. and Liang, Y. and Zhu, G. and Li, M. and Jiang, H.",
        "TinyFEL: Communication, Computation, and Memory Efficient Tiny Federated Edge Learning via Model Sparse Update",
        "IEEE Internet of Things Journal, 12(7), pages 8247-8260", 2025, doi="10.1109/JIOT.2024.3499375",
    ),
    "hierfavg": Paper(
        "liu2020hierfavg", _CONFERENCE, "Liu, Lumin and Zhang, Jun and Song, S. H. and Letaief, Khaled B.",
        "Client-Edge-Cloud Hierarchical Federated Learning", "IEEE ICC", 2020, "1905.06641",
    ),
    "split_learning": Paper(
        "gupta2018split", _JOURNAL, "Gupta, Otkrist and Raskar, Ramesh",
        "Distributed learning of deep neural network over multiple agents",
        "Journal of Network and Computer Applications, 116", 2018, "1810.06060",
    ),
    "ecofed": Paper(
        "wu2024ecofed", _JOURNAL,
        "Wu, D. and Ullah, R. and Rodgers, P. and Kilpatrick, P. and Spence, I. and Varghese, B.",
        "EcoFed: Efficient Communication for DNN Partitioning-Based Federated Learning",
        "IEEE Transactions on Parallel and Distributed Systems, 35(3), pages 377-390", 2024, "2304.05495",
    ),
    "parallel_split": Paper(
        "jeon2020parallel", _CONFERENCE, "Jeon, Joohyung and Kim, Joongheon",
        "Privacy-Sensitive Parallel Split Learning", "ICOIN, pages 7-9", 2020,
    ),
    "local_loss": Paper(
        "han2021local", _CONFERENCE, "Han, Dong-Jun and Bhatti, Hasnain Irshad and Lee, Jungmoon and Moon, Jaekyun",
        "Accelerating Federated Learning with Split Learning on Locally Generated Losses",
        "ICML Workshop on Federated Learning", 2021,
    ),
    "fedgkt": Paper(
        "he2020fedgkt", _CONFERENCE, "He, Chaoyang and Annavaram, Murali and Avestimehr, Salman",
        "Group Knowledge Transfer: Federated Learning of Large CNNs at the Edge", "NeurIPS", 2020, "2007.14513",
    ),
    "fedsl": Paper(
        "zhang2024fedsl", _PREPRINT, "Zhang, J. and Ni, W. and Wang, D.",
        "Federated Split Learning with Model Pruning and Gradient Quantization in Wireless Networks", "arXiv", 2024,
        "2412.06414",
    ),
    "elfish": Paper(
        "xu2019elfish", _PREPRINT, "Xu, Z. and Yang, Z. and Xiong, J. and Yang, J. and Chen, X.",
        "ELFISH: Resource-Aware Federated Learning on Heterogeneous Edge Devices", "arXiv", 2019, "1912.01684",
    ),
    "heterofl": Paper(
        "diao2021heterofl", _CONFERENCE, "Diao, Enmao and Ding, Jie and Tarokh, Vahid",
        "HeteroFL: Computation and Communication Efficient Federated Learning for Heterogeneous Clients", "ICLR", 2021,
        "2010.01264",
    ),
    "fjord": Paper(
        "horvath2021fjord", _CONFERENCE, "Horv{\\'a}th, Samuel and others",
        "FjORD: Fair and Accurate Federated Learning under heterogeneous targets with Ordered Dropout", "NeurIPS", 2021,
        "2102.13451",
    ),
    "federated_dropout": Paper(
        "caldas2018dropout", _PREPRINT,
        "Caldas, Sebastian and Kone{\\v{c}}n{\\'y}, Jakub and McMahan, H. Brendan and Talwalkar, Ameet",
        "Expanding the Reach of Federated Learning by Reducing Client Resource Requirements", "arXiv", 2018, "1812.07210",
    ),
}  # fmt: skip
_SPLITFED = Paper(
    "thapa2022splitfed", _CONFERENCE,
    "Thapa, Chandra and Mahawaga Arachchige, Pathum Chamikara and Camtepe, Seyit and Sun, Lichao",
    "SplitFed: When Federated Learning Meets Split Learning", "AAAI", 2022, "2004.12088",
)  # fmt: skip
PAPERS |= {"splitfed_v1": _SPLITFED, "splitfed_v2": _SPLITFED}
PAPERS |= {
    "fedasync": Paper(
        "xie2019fedasync",
        _PREPRINT,
        "Xie, Cong and Koyejo, Sanmi and Gupta, Indranil",
        "Asynchronous Federated Optimization",
        "arXiv",
        2019,
        "1903.03934",
    ),
    "fedbuff": Paper(
        "nguyen2022fedbuff",
        _CONFERENCE,
        "Nguyen, John and others",
        "Federated Learning with Buffered Asynchronous Aggregation",
        "AISTATS",
        2022,
        "2106.06639",
    ),
    "semi_async": Paper(
        "wu2021safa",
        _JOURNAL,
        "Wu, Wentai and others",
        "SAFA: A Semi-Asynchronous Protocol for Fast Federated Learning With Low Overhead",
        "IEEE Transactions on Computers, 70(5)",
        2021,
    ),
}
# Split and frozen training under an asynchronous rule: the rule's paper, as the combination is the platform's own.
PAPERS |= {
    f"{kind}_{rule}": PAPERS[rule] for kind in ("split", "frozen") for rule in ("fedasync", "fedbuff", "semi_async")
}

POLICIES: dict[str, Paper] = {  # by the name of a round's sampling or ending
    "tifl": Paper(
        "chai2020tifl",
        _CONFERENCE,
        "Chai, Zheng and others",
        "TiFL: A Tier-based Federated Learning System",
        "HPDC",
        2020,
        "2001.09249",
    ),
    "oort": Paper(
        "lai2021oort",
        _CONFERENCE,
        "Lai, Fan and others",
        "Oort: Efficient Federated Learning via Guided Participant Selection",
        "OSDI",
        2021,
        "2010.06081",
    ),
    "power_of_choice": Paper(
        "cho2022power",
        _CONFERENCE,
        "Cho, Yae Jee and Wang, Jianyu and Joshi, Gauri",
        "Towards Understanding Biased Client Selection in Federated Learning",
        "AISTATS",
        2022,
        "2010.01243",
    ),
    "first": Paper(
        "bonawitz2019scale",
        _CONFERENCE,
        "Bonawitz, Keith and others",
        "Towards Federated Learning at Scale: System Design",
        "MLSys",
        2019,
        "1902.01046",
    ),
}
