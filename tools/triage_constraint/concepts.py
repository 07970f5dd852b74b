"""The vocabulary of plain prompts: which words of which languages carry which idea.

Each concept is one pattern over lower-cased text. Words of Latin and Cyrillic scripts start at a word boundary and
may run on into endings ("train" finds "training"); words of Chinese, Japanese and Korean stand anywhere.
"""

import re
from functools import cache

_WORDS = {
    "slow": (
        r"slow\w*|too long|so long|very long|long time|takes? (?:too |so |very )?long|takes? (?:forever|ages|hours|days|weeks)|took \d+ (?:h|hours?|days?)"
        r"|taking (?:too |so |way too |very )?(?:long|forever|ages|hours|days)|time[- ]?consuming|speed(?:ing)?[ -]?up|faster|accelerat\w+ (?:the )?(?:train|infer|process)"
        r"|not (?:very |that )?fast|low (?:speed|fps|performance|throughput)|lag(?:gy|s|ging)?\b|(?:high|long\w*|large|huge|big|reduc\w+|improv\w+|more|increas\w+) (?:\w+ )?(?:latency|lantecy)|latency (?:is|of|was) \S+|(?:lot|lots) of time|so much time|boost[^.\n]{0,20}speed|speed (?:is|was|very|up|problem|issue|of)"
        r"|(?:bad|poor|terrible|unstable) (?:performance|speed)|hours? (?:per|for (?:one|each|a|an)) epoch|\d+ ?(?:s|sec|seconds|min|minutes|hours?)[ /](?:per |an? |each )?epoch"
        r"|longer than|\d+ (?:days?|hours) (?:to|for)|langsam\w*|dauert|zu lange|lent[eao]?s?\b|trop long\w*|tard[ao]\w*|demora\w*|despacio|медленн\w*|долг\w*|ускор\w*"
        r"|скорост\w*|lentament\w*|trag[ea] snelheid|wolno\w*|yavaş\w*",
        r"慢|太久|很久|耗时|加速|速度|时间(?:太|很|过)?长|長い時間|遅い|遅く|時間がかか|高速化|느리|느려|오래 걸|속도",
    ),
    "duration": (
        r"(?:\d+(?:\.\d+)?|an|one|two|three|several|few|many) ?(?:\+ ?)?(?:hours?|days?|weeks?|minutes?|mins?|seconds?|secs?|s)\b|how long|hour and a half|\d+ ?(?:[-~] ?\d+ ?)?fps",
        r"\d+ ?(?:小时|天|分钟|秒|個小時|時間|시간)|多久|多长时间",
    ),
    "gpumem": (r"gpu[- ]mem\w*|vram|video (?:memory|ram)|memory (?:usage |used |use )?(?:on|of) (?:the )?gpu|cuda memory", r"显存|顯存|gpu内存"),
    "stuckloss": (
        r"(?:accuracy|acc|loss|map|metric\w*|reward|iou|f1)[^.\n]{0,40}(?:does(?:n.t| not)|do(?:n.t| not)|not|never|stays?|stuck|always|constant|keeps?|is|are|of)[^.\n]{0,16}(?:decreas\w*|chang\w*|improv\w*|drop|converg\w*|at \d|0\b|zero|the same)",
        r"(?:loss|准确率|精度)[^\n]{0,10}(?:不下降|不降|不变|不收敛|为0|是0)|不收敛",
    ),
    "service": (r"servers?\b|clients?\b|connections?\b|daemon|headers\b|nodes? sync\w*", r"服务器"),
    "train": (
        r"train\w*|retrain\w*|fine[- ]?tun\w*|finetun\w*|epochs?\b|pre-?train\w*|iterations?\b|mini-?batch|backward|entra[iî]n\w*|entren\w*|treina\w*|обуч\w*|addestra\w*",
        r"训练|訓練|微调|预训练|学習|학습|훈련",
    ),
    "infer": (
        r"infer(?:ence|encing|ring)?\b|predict\w*|serving|serve\b|served|endpoint\w*|deploy\w*|real[- ]?time|fps\b|frames? per second|latency|lantecy|response times?|per image|per frame"
        r"|webcam|demo\b|detect(?:ion|ing) speed|generat(?:e|ion|ing) (?:speed|text|image|a response|response|answer)|tokens?/s\w*|tokens per second|requests?\b|throughput|test(?:ing)? time"
        r"|video (?:stream|file|process\w*|cam)|transcri\w*|upscal\w*|convert\w*|inferenz|inférence|inferencia|inferência|инференс\w*|предсказан\w*|ответ\w*|vorhersage\w*|prédiction\w*|predicci\w*",
        r"推理|预测|部署|推断|识别速度|检测速度|测试时|编码时间|向量|추론|예측|배포|推論|予測",
    ),
    "gpu": (
        r"gpus?\b|cuda\b|vram|nvidia|rtx ?\d+|gtx ?\d+|geforce|tesla|titan|quadro|a100|v100|h100|t4\b|p100|k80|\d{3,4}ti\b|graphics? cards?|video (?:memory|cards?)|grafikkarte|видеокарт\w*|cartes? graphiques?|tarjeta gr[aá]fica",
        r"显卡|显存|顯存|顯卡|单卡|多卡|그래픽",
    ),
    "oom": (
        r"out[- ]of[- ]memory|oom\b|ooms\b|memory (?:errors?|issues?|problems?|limit|overflow|exceeded|exhaust\w*|usage (?:is )?(?:too )?(?:high|large|huge|keeps)|consum\w+|leaks?|explo\w+|requirement\w*)"
        r"|(?:run(?:s|ning)?|ran) out of (?:\w+ )?memory|(?:not|n't have) enough (?:\w+ )?memory|insufficient (?:\w+ )?memory|too much (?:\w+ )?(?:memory|ram|vram)|(?:reduce|decrease|limit|lower|save|saving) (?:the )?(?:\w+ )?memory"
        r"|memory (?:keeps? |continu\w+ )?(?:increas\w*|grow\w*)|(?:increas|grow)\w* (?:\w+ )?memory|(?:lot|lots|huge amount) of (?:\w+ )?(?:memory|vram)|more (?:gpu )?memory|memory (?:is )?not enough|low memory|floods? \w+ memory|eats? (?:all )?\w* ?memory"
        r"|memory crash|crash\w* [^.\n]{0,30}memory|speicher(?:mangel|fehler|platz)?\b[^.\n]{0,30}(?:reicht nicht|voll|zu wenig)|zu wenig speicher|m[eé]moire insuffisante|manque de m[eé]moire|memoria insuficiente|sin memoria|falta de mem[oó]ria|sem mem[oó]ria"
        r"|не ?хватает памяти|нехватк\w+ памяти|недостаточно памяти|memoria esaurita",
        r"内存不足|内存溢出|内存泄[漏露]|显存不足|显存不够|显存溢出|爆显存|顯存會爆|爆内存|内存爆|内存占用|占用内存|显存占用|占用显存|无法分配内存|内存不够|メモリ不足|メモリリーク|메모리 부족|메모리가 부족|oom",
    ),
    "host": (
        r"ram\b|cpu[- ](?:memory|ram|oom)|system memory|host memory|main memory|swap\b|kernel (?:died|crash\w*|dead|restart\w*)|pandas|dataframe|csv|numpy|ddr4|arbeitsspeicher|mémoire vive|оперативн\w*|озу(?![а-я])|memoryerror",
        r"内存|內存|主存|램|メインメモリ",
    ),
    "lowutil": (
        r"(?:low|poor|bad|no|zero|0 ?%|small|less|little|not fully|underutili[sz]\w*|fluctuat\w*|unstable|drops?|10 ?%) [^.\n]{0,40}gpu[- ]?(?:util\w*|usage|load|use)|gpu[- ]?(?:util\w*|usage|load)[^.\n]{0,60}(?:low|0 ?%|unstable|fluctuat\w*|drop\w*|only|less|under|idle|poor|no change|<)"
        r"|gpu (?:is )?(?:idle|not (?:being |fully )?(?:used|utili[sz]ed))|gpu not us\w+|(?:not|n't) (?:use|using|utili[sz]e|utili[sz]ing|run(?:ning)? on) (?:the |my |any )?gpus?|instead of (?:the )?gpu|gpu is using or not|doesn'?t use (?:the )?gpu|no (?:change|increase) in gpu"
        r"|cuda usage|cpu (?:is |at |usage (?:is |got )?)(?:at )?100 ?%|100 ?% cpu|gpu-auslastung|не использу\w+ (?:видеокарт|gpu)|(?:видеокарт|gpu)\w* не использу",
        r"gpu利用率|gpu使用率|利用率(?:低|不稳|很低|不高|大大下降)|gpu占用率|gpu 사용률|gpu使用率",
    ),
    "loader": (
        r"data[- ]?load\w*|dataset loading|load(?:ing)? (?:the )?(?:data|images|batch)|i/o|\bio\b|disk (?:read|i/o)|hdd\b|num_workers|workers?\b|preprocess\w*|pre-processing|augmentation|tf\.data|data pipeline|feed(?:ing)? data|prefetch\w*|reading (?:data|images)|almost all time is spent on cpu|spikes?\b",
        r"数据加载|读取数据|数据读取|生成数据|データ読み込み|데이터 로딩",
    ),
    "money": (
        r"costs?\b|costing|costly|charg(?:e|es|ed|ing)\b|bill(?:s|ed|ing)?\b|pric(?:e|es|ed|ing|ey)\b|expensive|budget\w*|cheap\w*|refund\w*|reimburs\w*|\$ ?\d|\d ?\$|usd\b|dollars?\b|pay(?:ing|ment)?\b|paid\b|invoice|free[- ]tier|credits?\b|fees?\b|spen[dt](?:ing)?\b(?![^.\n]{0,20}time)"
        r"|pay-as-you-go|spot (?:instances?|vms?|machines?|pricing|training)|preemptible|savings? plan|reserved instances?|node[- ]hours?|overcharg\w*|unexpected (?:bill|charge)\w*|kosten|teuer|rechnung|co[uû]te?\w*|facture|costo\b|coste\b|caro\b|precio\w*|preço|custos?\b|стоимост\w*|цена|цены|дорог\w*|оплат\w*|prezzo",
        r"费用|价格|收费|计费|成本|扣费|账单|多少钱|便宜|料金|費用|コスト|비용|요금|가격",
    ),
    "cloud": (
        r"sagemaker|vertex\w*|aws\b|ec2|azure|gcp\b|google cloud|colab\w*|bedrock|runpod|lambda|instances?\b|endpoint\w*|notebooks?\b|tensorboard|automl|openai|api\b|hugging ?face|cloud\b|paperspace|kaggle|serverless\w*|gpus?\b|train\w*|model\w*|llms?\b|inference",
        r"云|訓練|训练",
    ),
    "idle": (
        r"(?:still|keep\w*|being|get(?:ting)?|continu\w+) (?:get(?:ting)? |being )?(?:charged|billed|running)|not (?:using|use|used)|even (?:though|if|when)|idle|turn(?:ed)? off|shut ?down|terminat\w*|delet\w*|stop(?:ped)? (?:the |my |all )?(?:instance|endpoint|sagemaker|service)|without (?:any )?us\w+|unused|can'?t find|forgot",
        r"闲置|没有使用|关机",
    ),
    "disk": (
        r"disks?\b|disk[- ]space|storage\b|hard ?drives?|hdd space|quota\b|no space|free space|space usage|/tmp\b|tmp (?:dir\w*|folder|files)|cache (?:dir\w*|folder|size)|harddisk|gb of space|too much space|festplatte\w*|disque\b|disco\b|диск\w*",
        r"磁盘|硬盘|磁碟|空间不足|ディスク|디스크",
    ),
    "space": (
        r"space|full\b|fill\w*|consum\w*|takes? up|taking up|use[sd]? up|using up|large|huge|too (?:big|large|many)|quota|limit\w*|overwhelm\w*|gb\b|tb\b|clean\w*|delet\w*|out of|reduc\w*|voll\b|lleno|plein\w*",
        r"不足|占用|太大|满|清理|容量",
    ),
    "overfit": (
        r"over[- ]?fit\w*|überanpass\w*|surapprentissage|sur-?apprentissage|sobreajuste|sobreajust\w*|переобуч\w*|overtrain\w*|(?:val\w*|test) (?:loss|acc\w*) (?:is |keeps? |starts? )?(?:increas\w*|ris\w*|go\w* up|much (?:lower|worse))|generali[sz]e (?:well|poorly)|doesn'?t generali[sz]e|poor generali[sz]ation",
        r"过拟合|過擬合|過学習|과적합|オーバーフィット",
    ),
    "fewdata": (
        r"small (?:\w+ )?(?:datasets?|data ?sets?|training sets?|amounts? of data|sample|number of (?:\w+ )?(?:samples|images|examples|data))|limited (?:\w+ )?(?:data|samples|dataset|training)|few (?:\w+ )?(?:samples|examples|images|data|labels|training|shots?)|few-shot|little data|insufficient data|lack of (?:\w+ )?data"
        r"|(?:not|n't have) enough (?:\w+ )?(?:data|samples|images|training)|only (?:have |has |contains? |about |around |got |use )*\d[\d,]* (?:\w+ ){0,3}(?:images?|samples?|examples?|pictures?|photos?|data|sentences?|documents?|rows|records|videos?|points?|training|observations?|labels?)|low[- ]resource|low data|data scarc\w*|scarce data|my (?:own )?small dataset"
        r"|how (?:many|much) (?:\w+ )?(?:images?|samples?|data|examples?|training data|training images|pictures|hours of)[^.\n]{0,60}(?:need|require|necessary|enough|should|are there|do (?:i|you|we)|to train|used|in your)|(?:minimum|min|number of|amount of) (?:\w+ ){0,2}(?:images|samples|data|training images|training data|examples)[^.\n]{0,40}(?:need\w*|require\w*|for|to)"
        r"|size of (?:the |your )?(?:training )?(?:dataset|data ?set)|dataset size|imbalanced?|unbalanced|(?:dataset|data ?set)s?[^.\n]{0,40}(?:only|around|about|just|with) (?:\w+ ){0,2}\d[\d,.k]* ?(?:\w+ ){0,2}(?:images?|samples?|examples?|pictures?|photos?|records|rows)|(?:minimum|min|enough|required) (?:number|amount|quantity) of|<? ?\d+ training (?:images|samples|examples)|\d+ (?:training )?images? (?:per|by|for each) (?:class|label)|(?:dataset|data) (?:has|have|is|contains) only|too few|kleine[rnms]? datens[aä]tz\w*|wenig(?:e)? daten|peu de donn[eé]es|pocos datos|poucos dados|мало данных|маленьк\w+ датасет",
        r"数据(?:集)?(?:太|很|较|比较)?(?:少|小)|样本(?:太|很|较)?少|数据量(?:少|小|不足|不够)|少样本|小样本|多少(?:张|条|数据|样本|图片)|数据不足|データが少な|少ないデータ|데이터가 적|데이터 부족",
    ),
    "transfer": (
        r"transfer[- ]learn\w*|pre-?trained (?:model|weights?|checkpoint)|from scratch|data augmentation|augment\w*|my own (?:data|dataset)|custom (?:data|dataset)",
        r"迁移学习|自己的数据|数据增强|预训练模型",
    ),
    "nogpu": (
        r"(?:no|without|w/o|don'?t have|do not have|doesn'?t have|not have|lack) (?:a |an |any |the |my |access to (?:a )?)?(?:nvidia |cuda |dedicated |powerful |good )?(?:gpus?|cuda|graphics? cards?|nvidia)\b|cpu[- ]only|only[- ]cpu|only (?:have |has |use |using |on )?(?:a |the )?cpus?\b|(?:run|use|work|running|train|training|inference|test|execute|using|used|uses|works?|install\w*|infer|predict\w*|possible|support\w*|demo|model|it)(?: \w+){0,5} (?:on|with|using|in|by|via|for) (?:a |the |my |just |only |local )*cpus?\b"
        r"|(?:on|with|using) (?:a |the |my )?(?:cpu|mac\w*|m1|m2|m3|apple silicon|amd (?:gpu|card|radeon)|intel (?:gpu|arc|iris|graphics?))\b|cpu (?:mode|version|support|inference|device|machine|training)|--?(?:no-?cuda|cpu)\b|cuda (?:is )?(?:not available|unavailable)|is_available\(\)|non-?gpu|cpu instead|select my cpu|amd gpus?|rocm|directml|mps device|apple (?:silicon|m\d)|no nvidia|non-?nvidia"
        r"|ohne gpu|ohne grafikkarte|sans (?:gpu|carte)|sin (?:gpu|tarjeta)|sem (?:gpu|placa)|без (?:gpu|видеокарт\w*)|на cpu|на процессоре|nur cpu|senza gpu|(?:on|with|using) (?:an? |my )?(?:intel )?(?:core )?i[3579]\b",
        r"cpu-?运行|用cpu|使用cpu|在cpu|cpu上|cpu版|没有gpu|没有显卡|无gpu|无显卡|不用gpu|没有用gpu|没用gpu|关闭cuda|gpuなし|cpuで|gpu ?없이|cpu로|只有cpu|inter显卡|核显|集显|mac跑|苹果",
    ),
    "edge": (
        r"jetsons?\b|nano board|xavier|\btx[12]\b|orin\b|raspberry\w*|\brpi\w*|\bpi ?[345]\b|arduino\w*|esp32\w*|stm32\w*|nrf52\w*|microcontroller\w*|mcus?\b|coral\b|edge ?tpu|edge (?:devices?|deployment|hardware|computing)|embedded|android|ios\b|iphone|smart ?phones?|mobile(?:net)? (?:device|phone|app|deployment|bert)|mobile\b|tflite\w*|tensorflow ?lite|core ?ml|ncnn|mnn\b|tengine"
        r"|rk33\d\d|rk35\d\d|k210|openmv|fpga|drones?|movidius|myriad|ncs2?\b|tinyml|cortex-?m\d*|hailo|snapdragon|neural compute stick|rockchip|on[- ]device|handy\b|téléphone|móvil|celular|мобильн\w*|телефон\w*",
        r"移动端|手机|嵌入式|端侧|树莓派|安卓|边缘设备|モバイル|スマホ|모바일|엣지",
    ),
    "multi": (
        r"multi[- ]?(?:gpu|node|machine|worker|host|card|graphics)s?\b|multiple (?:gpus?|nodes?|machines?|cards?|devices|workers|hosts|graphics)|(?:two|three|four|eight|[2-9]|1[06]|32|64) (?:x ?)?(?:gpus?|nodes?|cards?|machines|a100s?|v100s?|h100s?)\b|\d+ ?gpus\b|more (?:gpus|graphics cards|cards|nodes)|distributed\w*|ddp\b|fsdp|data ?parallel\w*|nccl\b|horovod|all-?reduce\w*|infiniband|torchrun|torch\.distributed|deepspeed|byteps|parameter server|nvlink|mpi\w*|world[_ ]size|mirrored ?strategy"
        r"|mehrere(?:n)? gpus?|plusieurs gpus?|varias gpus?|нескольк\w+ (?:gpu|видеокарт\w*)",
        r"多卡|多机|多gpu|多显卡|分布式|并行|複数gpu|멀티 ?gpu|분산",
    ),
    "hang": (
        r"stuck\w*|hang(?:s|ing|ed)?\b|hung\b|freez\w*|frozen|deadlock\w*|does(?:n'?t| not) (?:respond|move|start|progress|proceed)|no (?:progress|response|output)|infinite(?:ly)? wait|blocked\b|hängt|bloqué|se queda|завис\w*|timed? ?out",
        r"卡住|卡死|挂起|不动|死锁|フリーズ|止まる|멈춤|멈춰",
    ),
    "netword": (
        r"bandwidth|network\b|ethernet|download\w*|internet|connection\w*|communication|socket|s3\b|bucket|upload\w*|ftp\b|mirror",
        r"带宽|网络|下载|通信|ネットワーク|네트워크|다운로드",
    ),
    "choice": (
        r"which (?:\w+ ){0,3}(?:gpu|instance|model|hardware|machine|card|architecture|network|backbone|laptop|server|approach|library|framework|type|algorithm|one)|what (?:\w+ ){0,3}(?:gpu|instance|hardware|machine|specs?|specification|card|type of instance|instance type|architecture|model should|kind of)|recommend\w*|suggest(?:ed|ion)? (?:a |an |hardware|gpu|instance)|(?:hardware|system|gpu|minimum|min|ram) (?:spec\w*|requirement\w*|recommend\w*|config\w*)"
        r"|how to choose|should i (?:buy|use|choose|get|pick|go)|best (?:gpu|instance|model|hardware|practice\w*|way)|choose (?:an? |the )?(?:instance|gpu|model)|difference between|vs\.? |guidelines?|what network changes|other models|compare\w* (?:to|with)|alternative to",
        r"哪个(?:模型|显卡|版本)|什么(?:配置|显卡|硬件)|配置要求|推荐|选择",
    ),
    "howto": (
        r"how (?:to|do|can|could|should|would) (?:i|we|you|one)?\b|is (?:it|there) (?:a |any )?(?:possible|way)|can (?:i|we|you|it)\b|could you|please (?:add|support|provide|share|explain|tell|help)|feature request|would like to (?:know|understand|ask)|what (?:is|are|does|do)\b|understand\w*|explain\w*|tutorial|documentation|support for|add support",
        r"如何|怎么|怎样|请问|能否|是否支持|どうやって|어떻게",
    ),
    "nonml": (
        r"bitcoin\w*|wallet|blockchain|headers? sync|hadoop|hdfs|namenode|yarn\b|cassandra|kafka|elasticsearch|spark (?:driver|shuffle)|minecraft|chrome\b|firefox|browser\w*|web ?page|web ?site|page loads?|button|javascript|node\.?js|npm\b|react\b|angular|electron|vs ?code|vscode|intellij|eclipse|seamonkey|thunderbird|ubuntu \d|windows (?:explorer|update)|desktop|mysql|postgres\w*|mongo\w*|redis|nginx|apache|tomcat|php\b|wordpress|compil\w*|gcc\b|clang|linker|docker build|unity3d|game\b"
        r"|swap(?:ear|er|pear|ping)|bluetooth|printer|editor|plugin|extension|scroll\w*|typing|tabs?\b|cluster manager|opencv (?:build|videoio)|highgui|videocapture|imread|jvm\b|spring boot|tokio|\bui\b|user interface|start(?:ing)? (?:the )?kernel|kubernetes (?:dashboard|api server)|gradle|maven",
        r"网页|浏览器|브라우저|ブラウザ",
    ),
    "ml": (
        r"train\w*|model\w*|neural|torch\w*|tensorflow\w*|keras|cuda|gpus?\b|epochs?\b|batch[_ -]?size\w*|batch\b|infer\w*|dataset\w*|deep[- ]?learning|machine learning|\bml\b|llms?\b|bert\b|gpt\w*|transformer\w*|resnet\w*|yolo\w*|lstm|onnx\w*|embedding\w*|numpy|pandas|sklearn|scikit\w*|xgboost|lightgbm|jax\b|paddle\w*|mxnet|sagemaker|vertex|checkpoint\w*|predict\w*|hugging ?face|ollama|vllm|llama\w*|diffusion|tokens?\b|jupyter|notebook|colab|gan\b|gans\b|learning rate|classif\w*|segmentation|detection|fps\b|demo\b|tokens?|vectors?\b",
        r"模型|训练|训|推理|显存|显卡|数据集|学習|モデル|학습|모델|обуч|модел",
    ),
    "bug": (
        r"bugs?\b|wrong|incorrect\w*|does(?:n'?t| not) work|not work(?:ing)?|fail(?:s|ed|ing|ure)?\b|errors?\b|crash\w*|broken|strange|unexpected|exception\w*|mAP (?:is |of )?0\b|zero|accuracy (?:is |of |stays? )?0|converge\w*|cannot|can'?t|unable|raise\w*".lower(),
        r"报错|错误|出错|失败|异常|崩溃|奔溃|闪退|エラー|오류|에러",
    ),
    "converge": (r"converg\w*|learn(?:s|ing)?[^.\n]{0,30}slow\w*|loss (?:does|is|do)(?:n.t| not)", r"收敛"),
    "nan": (r"nan\b|nans\b|inf\b(?= loss)", r"nan"),
    "batching": (
        r"batch(?:ed|ing)? (?:process\w*|infer\w*|predict\w*|mode|api|interface|request\w*|support|inputs?)|in batch(?:es)?\b|multiple (?:images|inputs|sentences|files|requests) (?:at once|at the same time|in parallel|simultaneously)|one by one|concurren\w*|single (?:image|sentence) at a time|batch(?: \w+){0,3} (?:prediction|inference)|parallel (?:requests|inference)",
        r"batch ?接口|批量|批处理|并发|バッチ",
    ),
    "warm": (
        r"first (?:inference|call|run|prediction|request|frame|image|time|batch|iteration|query|forward)|warm[- ]?up|cold[- ]?start\w*|initial(?:ization)? (?:load|call|inference)|load(?:ing)? (?:the )?model|takes? \w+ to load|start-?up time",
        r"第一次|首次|冷启动|初回|첫 ",
    ),
    "serverless": (r"serverless\w*|pay[- ]?as|per request|on[- ]demand", r"按需"),
    "spot": (r"spot\b|preemptible|interruptible", r"竞价|抢占"),
}


@cache
def _compiled(name: str) -> re.Pattern[str]:
    latin, other = _WORDS[name]
    # ASCII: a word ends before a Chinese character, which Unicode would count as a letter of it
    return re.compile(rf"(?<![a-zа-яё0-9])(?:{latin})|(?:{other})", re.ASCII)


def spans(name: str, lowered: str) -> list[tuple[int, int]]:
    """Where a concept is named in lower-cased text."""
    return [match.span() for match in _compiled(name).finditer(lowered)]


NAMES = tuple(_WORDS)
