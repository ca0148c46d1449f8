"""torch, Transformers and tokenizers: data-independent training, probing, exporting and evaluating."""

from runtime.contract import Backend

BACKEND = Backend(
    name="torch",
    version=1,
    operations={
        "generate_answers": "runtime.models.answering:generate_answers",
        "tokenizer": "runtime.models.fitting:make",
        "bootstrap": "runtime.train.bootstrap:bootstrap",
        "import_teacher": "runtime.models.importing:import_teacher",
        "cut_student": "runtime.models.students:cut_student",
        "migrate_student": "runtime.models.migrating:migrate_student",
        "restrict_teacher": "runtime.models.restricting:restrict_teacher",
        "calibrate": "runtime.models.calibration:calibrate",
        "reach": "runtime.train.reach:reach",
        "record_signals": "runtime.train.recording:record_signals",
        "train": "runtime.train.distill:train",
        "probe": "runtime.models.probes:probe",
        "export": "runtime.models.export:export",
        "evaluate": "runtime.asking.judging:evaluate",
        "ask": "runtime.asking.ask:ask",
        "gather": "runtime.models.gathering:gather",
        "efficiency": "runtime.timing.spending:spend",
        "benchmark": "runtime.timing.benchmark:benchmark",
    },
    devices="runtime.models.device:words",
    requires={
        "torch": "2.13.0",
        "transformers": "5.23.0",
        "tokenizers": "0.23.3",
        "safetensors": "0.8.0",
        "sentencepiece": "0.2.3",
        "jinja2": "3.1.6",
        "numpy": "2.4.6",
    },
)
