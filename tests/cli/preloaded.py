"""What the commands import, imported once for all processes that are forked."""

import datasets
import faiss
import matplotlib.pyplot
import pandas
import pyarrow.dataset
import pyarrow.parquet
import safetensors.numpy
import scipy.sparse
import sklearn.linear_model

import bioprobe.embedding
import bioprobe.evaluation
import bioprobe.face.store
import bioprobe.index
import bioprobe.interchange.layouts
import bioprobe.learning.tune
import bioprobe.quality
import bioprobe.report

__all__: list[str] = []
